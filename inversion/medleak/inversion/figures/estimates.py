"""Means with 95 % intervals: the one place where figures and the table get their numbers."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from medleak.inversion.results import Row

RESAMPLES = 1000
_SEED = 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over ``n`` rows of ``images`` images, and its 95 % bootstrap interval."""

    mean: float
    lower95: float
    upper95: float
    n: int
    images: int

    def text(self, digits: int = 3, signed: bool = False) -> str:
        """``0.912 [0.905, 0.918]``."""
        sign = "+" if signed else ""
        mean, low, high = (f"{v:{sign}.{digits}f}" for v in (self.mean, self.lower95, self.upper95))
        return f"{mean} [{low}, {high}]"


def estimate(rows: Iterable[Row], value: Callable[[Row], float | None]) -> Estimate | None:
    """Mean of ``value`` over the rows that have one, resampled by patient; None: none has.

    Rows of one image (rounds, seeds) are no independent evidence, nor are images of one patient:
    patients are resampled, or images where the patient is not known.
    """
    known = [(v, _cluster(row)) for row in rows if (v := value(row)) is not None]
    if not known:
        return None
    values = np.array([v for v, _ in known], dtype=np.float64)
    clusters = [c for _, c in known]
    low, high = _interval(values, clusters)
    return Estimate(float(values.mean()), low, high, len(known), len(set(clusters)))


def _cluster(row: Row) -> Hashable:
    patient = getattr(row, "patient", None)
    if patient is not None:
        return (row.site, "patient", patient)
    return (row.site, row.truth_image if row.truth_image is not None else row.reconstruction)


def _interval(values: np.ndarray, clusters: Sequence[Hashable]) -> tuple[float, float]:
    names = {c: k for k, c in enumerate(dict.fromkeys(clusters))}
    index = np.array([names[c] for c in clusters])
    sums, counts = np.bincount(index, values), np.bincount(index)
    drawn = np.random.default_rng(_SEED).integers(0, len(names), (RESAMPLES, len(names)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)
