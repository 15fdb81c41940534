"""How well scores tell members from others: AUC, and true positives at few false ones."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from medleak.custom.intervals import bootstrap_of, wilson

RATES = {"tpr_1": 0.01, "tpr_01": 0.001}
"""Names in files -> false positive rates, 1 % and 0.1 %."""

GRID = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""False positive rates at which a curve has points: even on a log axis, where leaks show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A share in [0, 1] and its 95 % interval over patients."""

    value: float
    lower95: float
    upper95: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Separation:
    """How members and others are told apart.

    Attributes:
        auc: Probability that a member scores above another image; 0.5 is chance.
        tpr: By the name in `RATES`, share of members above a threshold that no larger share of
            the others is above.
        curve: By false positive rate of `GRID`, the same share; rates that there are too few others
            to resolve are left out.
        members: Images; ``others``: images; ``patients``: of both.
        fewest: Patients of the group that has fewer; ``in_both``: patients with images in each.
    """

    auc: Figure
    tpr: Mapping[str, Figure]
    curve: Mapping[float, Figure]
    members: int
    others: int
    patients: int
    fewest: int
    in_both: int

    def resolves(self, name: str) -> bool:
        """Whether there are so many others that one of them may be above the threshold."""
        return self.others * RATES[name] >= 1


def separation(
    scores: NDArray[np.float64], member: NDArray[np.bool_], patients: Sequence[Hashable]
) -> Separation:
    """Compare ``scores`` [N], larger for members.

    A score that is no number is the worst for a member and the best for another.

    Raises:
        ValueError: There is no member, or nobody else.
    """
    if not member.any() or member.all():
        raise ValueError(
            f"{int(member.sum())} of {len(member)} candidates are members: how they are told from "
            "others needs both. Add images of the other kind to --candidates."
        )
    scores = np.where(np.isnan(scores), np.where(member, -np.inf, np.inf), scores)

    rates = RATES | {f"{rate:g}": rate for rate in GRID if (~member).sum() * rate >= 1}

    def figures(chosen: NDArray[np.intp]) -> dict[str, float]:
        inside, outside = scores[chosen][member[chosen]], scores[chosen][~member[chosen]]
        if not len(inside) or not len(outside):
            return dict.fromkeys(("auc", *rates), float("nan"))
        return {"auc": auc(inside, outside)} | {
            name: tpr_at(inside, outside, rate) for name, rate in rates.items()
        }

    values = figures(np.arange(len(scores)))
    bounds = bootstrap_of(figures, patients)
    groups = [{p for p, m in zip(patients, member, strict=True) if m == of} for of in (True, False)]
    found = {}
    for name, value in values.items():
        low, high = bounds[name]
        if high <= low:  # no resample differs, as where all are told apart: no certainty either
            n = min(map(len, groups)) if name == "auc" else len(groups[0])
            low, high = wilson(value, n)
        found[name] = Figure(value=value, lower95=min(low, value), upper95=max(high, value))
    return Separation(
        auc=found["auc"],
        tpr={name: found[name] for name in RATES},
        curve={rate: found[name] for name, rate in rates.items() if name not in RATES},
        members=int(member.sum()),
        others=int((~member).sum()),
        patients=len(groups[0] | groups[1]),
        fewest=min(map(len, groups)),
        in_both=len(groups[0] & groups[1]),
    )


def auc(inside: NDArray[np.float64], outside: NDArray[np.float64]) -> float:
    """Mann-Whitney: share of (member, other) pairs in which the member is higher; ties half."""
    ranks = rankdata(np.concatenate([inside, outside]))[: len(inside)].sum()
    m, n = len(inside), len(outside)
    return float((ranks - m * (m + 1) / 2) / (m * n))


def tpr_at(inside: NDArray[np.float64], outside: NDArray[np.float64], rate: float) -> float:
    """Share of ``inside`` above the lowest threshold that at most ``rate`` of ``outside`` exceed.

    Carlini et al. 2022, arXiv:2112.03570v2, section III. Where there are fewer than 1 / rate
    others, none of them may exceed it: the true rate is then not known that finely.
    """
    allowed = int(np.floor(rate * len(outside) + 1e-9))
    threshold = np.sort(outside)[len(outside) - 1 - allowed]
    return float((inside > threshold).mean())
