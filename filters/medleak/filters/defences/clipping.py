"""Bound the norm of an update, so that noise of a known scale hides it."""

import numpy as np

from medleak.filters.update import Update


def global_l2_norm(update: Update) -> float:
    """L2 norm of all entries as one flat vector, summed in float64."""
    return float(np.sqrt(sum(_sum_of_squares(np.asarray(v)) for v in update.values())))


def global_l1_norm(update: Update) -> float:
    """L1 norm of all entries as one flat vector, summed in float64."""
    return float(sum(np.abs(v).sum(dtype=np.float64) for v in update.values()))


def clipping_factor(norm: float, max_norm: float) -> float:
    """min(1, ``max_norm`` / ``norm``): multiplied with it, the norm is at most ``max_norm``.

    Both are in the units of the update and finite; a zero update has factor 1.

    Source: Abadi et al. 2016, arXiv:1607.00133v2, Algorithm 1, for one whole client update.
    """
    return min(1.0, max_norm / norm) if norm > 0 else 1.0


def _sum_of_squares(value: np.ndarray) -> float:
    flat = value.reshape(-1).astype(np.float64)
    return float(flat @ flat)
