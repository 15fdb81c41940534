"""From scores to p-values: candidates beside images that are certainly not in the update."""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]


def joined(candidates: Mapping[str, Tensor], nulls: Mapping[str, Tensor]) -> tuple[Floats, Floats]:
    """Mean over the parts of a score, each in standard deviations of ``nulls`` above their mean.

    A part that does not vary among the nulls (a frozen layer) is left out. Parts called
    ``source/part`` are first joined among those of their source, and the sources then alike: one of
    a hundred layers counts no more than one of four.

    Args:
        candidates: By part, [N].
        nulls: The same parts of certain non-members, [M], M >= 2.

    Returns:
        [N] and [M]; not a number where a score was none.
    """
    n = len(next(iter(candidates.values())))
    sources: dict[str, list[Tensor]] = {}
    for part in nulls:
        both = _standard(torch.cat([candidates[part], nulls[part]]).double(), n)
        if both is not None:
            sources.setdefault(part.rpartition("/")[0], []).append(both)
    means = [torch.stack(parts).mean(0) for parts in sources.values()]
    if len(means) > 1:
        means = [scaled for mean in means if (scaled := _standard(mean, n)) is not None]
    if not means:
        return np.zeros(n), np.zeros(len(next(iter(nulls.values()))))
    mean = torch.stack(means).mean(0).cpu().numpy()
    return mean[:n], mean[n:]


def _standard(values: Tensor, n: int) -> Tensor | None:
    """[n + M] in deviations of the last M, the nulls; None where these do not vary."""
    centre, spread = values[n:].mean(), values[n:].std()
    if spread > 0 or not torch.isfinite(spread):
        return (values - centre) / spread
    return None


def p_values(scores: Floats, nulls: Floats, null_patients: Sequence[Hashable]) -> Floats:
    """Conformal p-value of each of ``scores`` [N]: (1 + nulls at least as high) / (1 + nulls).

    Formal guarantee: for a candidate that is exchangeable with the nulls' patients (that is, not a
    member, and drawn as they were), P(p <= a) <= a for every a. A patient with several null images
    counts once, with the highest: that only makes p larger.

    A score that is no number has p = 1.

    Source: Vovk et al. 2005, ch. 2; of several tests at once, Bates et al. 2023,
    arXiv:2104.08279v3.
    """
    highest: dict[Hashable, float] = {}
    for patient, value in zip(null_patients, nulls, strict=True):
        # What is not known of a null may have been higher than anything.
        value = float("inf") if np.isnan(value) else float(value)
        highest[patient] = max(highest.get(patient, -float("inf")), value)
    ordered = np.sort(np.array(list(highest.values())))
    with np.errstate(invalid="ignore"):
        above = len(ordered) - np.searchsorted(ordered, scores, side="left")
    return np.where(np.isnan(scores), 1.0, (1 + above) / (1 + len(ordered)))


def patient_p_values(values: Floats, patients: Sequence[Hashable]) -> dict[Hashable, float]:
    """One test a patient: the least of its images' p-values times their number, at most 1.

    Bonferroni's, valid however alike the images of a patient are.
    """
    of: dict[Hashable, list[float]] = {}
    for patient, value in zip(patients, values, strict=True):
        of.setdefault(patient, []).append(float(value))
    return {patient: min(1.0, len(each) * min(each)) for patient, each in of.items()}


def recognised(values: Sequence[float], rate: float) -> int:
    """How many of the p-values Benjamini and Hochberg's procedure rejects at false rate ``rate``.

    Conformal p-values against the same nulls depend positively on each other, for which it holds
    (Bates et al. 2023, arXiv:2104.08279v3, theorem 2).
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    within = ordered <= rate * np.arange(1, len(ordered) + 1) / max(len(ordered), 1)
    return int(np.flatnonzero(within)[-1]) + 1 if within.any() else 0
