"""Two attacks or two defences on the same images."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import permutation_test

from medleak.custom.intervals import mean_interval
from medleak.inversion.results.rows import Row


@dataclass(frozen=True, slots=True)
class Paired:
    """Mean difference of two attacks or defences on the same images.

    Attributes:
        difference: Mean of first - second over the pairs.
        lower95: And `upper95`: see `mean_interval`; None where there is one cluster.
        p: Two-sided, by changing the sign of whole clusters; None where there is one cluster.
        n: Pairs.
        clusters: Independent ones among them.
    """

    difference: float
    lower95: float | None
    upper95: float | None
    p: float | None
    n: int
    clusters: int


def compare_rows(first: Sequence[Row], second: Sequence[Row], figure: str = "ssim") -> Paired:
    """Paired comparison of ``figure`` over what both measured: same round, site, seed and image.

    Args:
        first: Rows of one attack, defence and knowledge.
        second: Rows of another.
        figure: A column of results.csv: ``ssim``, ``rdlv``, ``psnr``, ``cosine``, …

    Raises:
        ValueError: No such figure, an image twice on one side, or none that both measured.
    """
    ours, theirs = _by_image(first, figure), _by_image(second, figure)
    both = [key for key in ours if key in theirs]
    if not both:
        raise ValueError(
            f"No image has {figure} on both sides ({len(ours)} and {len(theirs)} have it): there "
            "is nothing to compare. Audit the same rounds, sites and seeds with both."
        )
    clusters: list[Hashable] = [(key[1], ours[key][1]) for key in both]
    return compare([ours[key][0] for key in both], [theirs[key][0] for key in both], clusters)


def compare(
    first: Sequence[float], second: Sequence[float], clusters: Sequence[Hashable], seed: int = 0
) -> Paired:
    """Paired comparison of figures of the same images under two attacks or defences.

    Args:
        first: [n] figures; larger is first's gain.
        second: [n], of the same images (and rounds and seeds).
        clusters: [n], patients.
        seed: Of the bootstrap, and of the permutations where there are too many to try all.

    Raises:
        ValueError: No pairs, different lengths, or an undefined value.
    """
    if not first or not len(first) == len(second) == len(clusters):
        raise ValueError(
            f"A paired comparison takes as many values of both: there are {len(first)}, "
            f"{len(second)}, of {len(clusters)} clusters. Compare what was measured under both."
        )
    difference = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    if not np.isfinite(difference).all():
        raise ValueError("A difference is undefined: leave out images without a figure in both.")
    mean = float(difference.mean())
    sums: dict[Hashable, float] = {}
    for cluster, value in zip(clusters, difference.tolist(), strict=True):
        sums[cluster] = sums.get(cluster, 0.0) + value
    if len(sums) == 1:
        return Paired(mean, None, None, None, len(difference), 1)
    lower, upper = mean_interval(difference[:, None], clusters, seed=seed)
    test = permutation_test(
        (np.array(list(sums.values())),),
        np.sum,
        permutation_type="samples",  # of one sample: signs
        n_resamples=9999,
        rng=np.random.default_rng(seed),
    )
    return Paired(
        mean, float(lower[0]), float(upper[0]), float(test.pvalue), len(difference), len(sums)
    )


def image_key(row: Row) -> tuple[int, str, int, str | None]:
    """What tells the images of an attack, defence and knowledge apart: round, site, seed, place."""
    return row.round, row.site, row.seed, row.truth_image


def _by_image(
    rows: Sequence[Row], figure: str
) -> dict[tuple[int, str, int, str | None], tuple[float, Hashable]]:
    found: dict[tuple[int, str, int, str | None], tuple[float, Hashable]] = {}
    for row in rows:
        value = getattr(row, figure, None)
        if row.truth_image is None or value is None:
            continue
        if isinstance(value, str):
            raise ValueError(f"{figure!r} is a text: only figures can be compared.")
        key = image_key(row)
        if key in found:
            raise ValueError(
                f"{row.truth_image} of {row.site} in round {row.round} stands twice on one side: "
                "choose the rows of one attack, defence and knowledge."
            )
        found[key] = (float(value), row.truth_image if row.patient is None else row.patient)
    return found
