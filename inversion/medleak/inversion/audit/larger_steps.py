"""The update that a site would have sent of a step on so many images: what a minimum would leave.

The audit makes it anew, from the recorded model and the site's own list; `MinimumBatch` is the
filter that keeps updates of fewer images at home.
"""

import random
from collections.abc import Sequence
from pathlib import Path

from medleak.custom.data.datalist import Item
from medleak.custom.record import Record
from medleak.inversion.audit.health import easy_record
from medleak.inversion.images.truth import load_truth, training_items
from medleak.inversion.losses import REPLAYED
from medleak.inversion.results.case import NO_DEFENCE, Case
from medleak.inversion.results.replays import MINIMUM_BATCH, replay_of


def step_of(case: Case) -> int | None:
    """Images of the step that ``case`` asks for; None: the update stays as recorded."""
    return None if case.defence == NO_DEFENCE else replay_of(case.defence).step


def chosen(case: Case, round: int, site: str, datalist: Path | None) -> list[Item]:
    """The images of the step, drawn from the site's list by the seed of ``case``.

    Raises:
        ValueError: There is no list, or one of fewer images.
    """
    wanted = step_of(case)
    assert wanted is not None  # noqa: S101  the caller asked `step_of`
    if datalist is None:
        raise ValueError(
            f"{MINIMUM_BATCH} makes the update of {site} anew, from images of its own, and there "
            "is no list of them: give --truth."
        )
    items = training_items(datalist, site)
    require_images(wanted, len(items), site)
    return random.Random(f"{case.seed}|{round}|{site}|{wanted}").sample(items, wanted)


def require_images(wanted: int, there: int, site: str) -> None:
    """Refuse a step of more images than the site has.

    Raises:
        ValueError: It is one.
    """
    if wanted > there:
        raise ValueError(
            f"{MINIMUM_BATCH}:step={wanted} is a step on {wanted} different images, and {site} "
            f"has {there}: choose fewer (--high), or leave the site out."
        )


def made_anew(record: Record, items: Sequence[Item], allowed_prefixes: Sequence[str]) -> Record:
    """``record`` as if its site had made one step, of plain SGD or Adam, on ``items``.

    Raises:
        ValueError: Its loss or its images are not known, or not computed here.
    """
    task = record.manifest.task
    if task is None or task.criterion not in REPLAYED:
        named = "not known" if task is None else f"{task.criterion}"
        raise ValueError(
            f"{MINIMUM_BATCH} makes an update anew, and the loss of this record is {named}; "
            f"{', '.join(REPLAYED)} are computed here. Give it (--criterion), or leave this out."
        )
    spec = record.manifest.known_input()
    truth = load_truth(items, spec.spatial_size, spec.channels)
    return easy_record(record, truth.images, truth.labels, allowed_prefixes=allowed_prefixes)
