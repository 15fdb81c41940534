"""Bound the norm of an update, so that noise of a known scale hides it."""

import math

import numpy as np

from medleak.filters.update import Update, UpdateError


def global_l2_norm(update: Update) -> float:
    """L2 norm of all entries as one flat vector, in float64; neither over- nor underflows."""
    unit = _unit(update)
    total = sum(_sum_of_squares(np.asarray(v), unit) for v in update.values())
    return float(np.sqrt(total)) * unit


def global_l1_norm(update: Update) -> float:
    """L1 norm of all entries as one flat vector, summed in float64; does not overflow."""
    unit = _unit(update)
    if unit == 1.0:
        return float(sum(np.abs(v).sum(dtype=np.float64) for v in update.values()))
    scaled = (np.abs(np.asarray(v, np.float64) / unit).sum() for v in update.values())
    return float(sum(scaled)) * unit


def clipping_factor(norm: float, max_norm: float) -> float:
    """min(1, ``max_norm`` / ``norm``): multiplied with it, the norm is at most ``max_norm``.

    Both are in the units of the update and finite; a zero update has factor 1.

    Raises:
        UpdateError: The norm itself is beyond float64: no factor would bound it.

    Source: Abadi et al. 2016, arXiv:1607.00133v2, Algorithm 1, for one whole client update.
    """
    if not math.isfinite(norm):
        raise UpdateError(
            f"The norm of the update is {norm}: it cannot be bounded, and so nothing can be "
            "promised. Training diverged; skip this round or lower the learning rate."
        )
    return min(1.0, max_norm / norm) if norm > 0 else 1.0


def _unit(update: Update) -> float:
    """A power of two near the largest magnitude, where squares of it would leave float64; else 1.

    Squares of float16 and float32 values stay within float64, so only float64 has to be looked at.
    """
    wide = [np.asarray(v) for v in update.values() if v.dtype == np.float64 and v.size]
    if not wide:
        return 1.0
    others = [np.asarray(v) for v in update.values() if v.dtype != np.float64 and v.size]
    largest = max(float(np.abs(v).max()) for v in (*wide, *others))
    if largest == 0 or 1e-100 < largest < 1e100:
        return 1.0
    return math.ldexp(1.0, min(max(math.frexp(largest)[1], -1021), 1023))


def _sum_of_squares(value: np.ndarray, unit: float) -> float:
    flat = value.reshape(-1).astype(np.float64)
    if unit != 1.0:
        flat /= unit
    return float(flat @ flat)
