"""The knowledge ladder: what an attacker must know for an image to leak.

From everything known downwards: batch-norm statistics withheld, labels unknown, the wrong prior, a
stale global model. Down the ladder each rung gives up one thing more; one at a time each gives up
that thing alone. The rung where the similarity falls names the assumption that buys the leak.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from torch import Tensor

from medleak.custom.phantoms import MODALITIES, VOLUMES
from medleak.inversion.images.prior import load_prior, mean_phantom
from medleak.inversion.knowledge import Knowledge
from medleak.inversion.measures.similarity import ssim
from medleak.inversion.results.rows import Row

_GIVEN_UP: tuple[tuple[str, dict[str, Any]], ...] = (
    ("batch-norm statistics withheld", {"bn_statistics": False}),
    ("labels unknown", {"labels": "inferred"}),
    ("prior of another kind of image", {"prior_image": "other"}),
    ("stale global model (one round old)", {"model_round": "previous"}),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One attacker of the ladder: what is given up, in words, and what is left."""

    name: str
    knowledge: Knowledge


def rungs(*, one_at_a_time: bool = False) -> list[Rung]:
    """The ladder, from all known down; each rung keeps what the ones above gave up, or does not."""
    top = now = Knowledge(labels="known")
    found = [Rung(name="all known", knowledge=top)]
    for name, change in _GIVEN_UP:
        now = dataclasses.replace(top if one_at_a_time else now, **change)
        found.append(Rung(name=name, knowledge=now))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class RungLeak:
    """What is left of a site's leak on one rung, means over images, rounds and seeds.

    ``fall`` is the SSIM lost against the rung above, or against all known where things are given up
    one at a time. Figures are None where nothing was measured.
    """

    site: str
    attack: str
    defence: str
    rung: str
    n: int
    ssim: float | None
    rdlv: float | None
    fall: float | None


def leak_by_rung(
    rows: Sequence[Row], ladder: Sequence[Rung], *, one_at_a_time: bool
) -> list[RungLeak]:
    """What is left on every rung of every (site, attack, defence) in ``rows``, in their order."""
    found = []
    for site, attack, defence in dict.fromkeys((r.site, r.attack, r.defence) for r in rows):
        above: float | None = None
        for number, rung in enumerate(ladder):
            on = rung.knowledge.describe()
            here = [
                r
                for r in rows
                if (r.site, r.attack, r.defence, r.knowledge) == (site, attack, defence, on)
            ]
            similar = _mean([r.ssim for r in here])
            fall = None if above is None or similar is None else above - similar
            found.append(
                RungLeak(
                    site=site,
                    attack=attack,
                    defence=defence,
                    rung=rung.name,
                    n=sum(r.ssim is not None for r in here),
                    ssim=similar,
                    rdlv=_mean([r.rdlv for r in here]),
                    fall=fall,
                )
            )
            if number == 0 or not one_at_a_time:
                above = similar if similar is not None else above
    return found


@lru_cache(maxsize=4)
def other_prior(prior: str, spatial_size: tuple[int, ...], channels: int) -> Tensor:
    """A prior of another kind of image than the one that ``prior`` names: [1, C, *size] in [0, 1].

    Of the mean images of all made-up modalities, the one least similar to it: so it is another
    modality whatever the given one is of. Of volumes, the mean torso upside down.

    Raises:
        ValueError: ``prior`` cannot be used.
    """
    given = load_prior(prior, spatial_size, channels)
    if len(spatial_size) == 3:  # one kind of volume is drawn: its other end is another
        return mean_phantom(next(iter(VOLUMES)), spatial_size, channels).flip(2, 4)
    means = [mean_phantom(modality, spatial_size, channels) for modality in MODALITIES]
    return min(means, key=lambda mean: float(ssim(given, mean)))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if known else None
