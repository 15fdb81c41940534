"""The images that a site trained on: to measure a finished reconstruction, and only that."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from medleak.custom.data.datalist import DATALIST, Item, load_datalist
from medleak.custom.data.transforms import load_images


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """A site's training images [M, C, *size] in [0, 1] and their labels [M].

    ``names`` are their places in the datalist: a file's name may hold a patient's number, and only
    who has the list shall find the patient.
    """

    images: Tensor
    labels: Tensor
    names: tuple[str, ...]


def find_truth(truth: Path | None, records: Path, site: str) -> Path | None:
    """The datalist of ``site``.

    Args:
        truth: A datalist, for an audit of one site; or a folder that holds ``<site>.json`` or, at
            any depth below ``<site>/``, ``datalist.json``. None: look for the latter beside the
            records, as the simulator leaves it.
        records: Records directory; it may lie a few folders below the run's own.
        site: Name as in the record.

    Returns:
        The datalist; None if ``truth`` is None and there is none to be found, or more than one.

    Raises:
        ValueError: ``truth`` is given and has nothing for ``site``.
    """
    if truth is None:
        run = records.resolve().parent
        # Higher up only in a simulator workspace (server/simulate_job/records): a stranger's
        # record names its sites, and must not make us search folders of that name anywhere.
        bases = [records, run, *([run.parent.parent] if run.parent.name == "server" else [])]
        found = next((f for base in bases if (f := _below(base, site))), [])
        return found[0] if len(found) == 1 else None
    if truth.is_file():
        return truth
    if not truth.is_dir():
        raise ValueError(
            f"Truth {str(truth)!r} does not exist: similarity cannot be measured. Name a datalist "
            "(JSON) or a folder with one a site."
        )
    found = [p for p in (truth / f"{site}.json",) if p.is_file()] or _below(truth, site)
    if len(found) == 1:
        return found[0]
    what = "no datalist" if not found else f"{len(found)} datalists"
    raise ValueError(
        f"Truth {str(truth)!r} has {what} for {site}: its reconstructions cannot be measured. Put "
        f"one at {truth / f'{site}.json'}, or leave the site out."
    )


def training_items(datalist: Path, site: str) -> list[Item]:
    """Training items of ``datalist``.

    Raises:
        DataError: The list cannot be read.
        ValueError: It has no training images.
    """
    items = load_datalist(datalist)["training"]
    if not items:
        raise ValueError(
            f"Truth {str(datalist)!r} lists no training image for {site}: its reconstructions "
            "cannot be measured. Name the list that the site trained with."
        )
    return items


def load_truth(items: Sequence[Item], spatial_size: tuple[int, ...], channels: int) -> Truth:
    """The images of ``items`` as the client's own transforms load them.

    Raises:
        DataError: An image is missing or damaged.
    """
    images, labels = load_images(items, spatial_size=spatial_size, channels=channels)
    return Truth(images, labels, tuple(f"training[{k}]" for k in range(len(items))))


def _below(base: Path, site: str) -> list[Path]:
    return sorted((base / site).glob(f"**/{DATALIST}"))
