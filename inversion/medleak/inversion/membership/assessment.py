"""Membership in one update: scores, p-values and, where it is known who was in, how well it tells.

Certain non-members are split in two by patient: one half is the background that scores may use,
the other gives the scores that candidates are compared with. One half for both would make the
p-values wrong: what a score has seen, it judges otherwise.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medleak.inversion.membership.calibration import (
    joined,
    p_values,
    patient_p_values,
    recognised,
)
from medleak.inversion.membership.easy import MEMBERS
from medleak.inversion.membership.roc import Separation, auc, separation
from medleak.inversion.membership.rule import FALSE_RATE, Findings
from medleak.inversion.membership.scores.registry import Score
from medleak.inversion.observation import Observation

LEAST_NULLS = 19
"""Patients of the half that is compared with: with fewer no p-value is below 0.05."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Group:
    """Images [N, C, ...] in [0, 1], their labels [N] where known, and whose they are [N]."""

    images: Tensor
    labels: Tensor | None
    patients: tuple[Hashable, ...]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def take(self, chosen: Sequence[int]) -> "Group":
        """Those at the places ``chosen``."""
        index = torch.tensor(list(chosen), dtype=torch.int64)
        labels = None if self.labels is None else self.labels[index]
        patients = tuple(self.patients[k] for k in chosen)
        return Group(images=self.images[index], labels=labels, patients=patients)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Scored:
    """Candidates against one update.

    Attributes:
        scores: [N], larger for members, in standard deviations of the nulls.
        nulls: [M], those of the certain non-members that they are compared with.
        null_patients: Whose those are, a number.
        p: [N] conformal p-values.
        patients: One p-value a patient.
    """

    scores: NDArray[np.float64]
    nulls: NDArray[np.float64]
    null_patients: int
    p: NDArray[np.float64]
    patients: dict[Hashable, float]


def halves(nonmembers: Group, *, seed: int = 0) -> tuple[Group, Group]:
    """Background and nulls: certain non-members split by patient, about even, at random.

    Raises:
        ValueError: There are too few patients for any p-value to be small.
    """
    patients = sorted(set(nonmembers.patients), key=str)
    if len(patients) < 2 * LEAST_NULLS:
        raise ValueError(
            f"The certain non-members are of {len(patients)} patients: half of them give the "
            f"p-values, and with fewer than {2 * LEAST_NULLS} none can be below 0.05, so that "
            "nobody could be recognised. Give more images by --nonmembers."
        )
    order = np.random.default_rng(seed).permutation(len(patients))
    first = {patients[k] for k in order[: len(patients) // 2]}
    places = range(len(nonmembers))
    return (
        nonmembers.take([k for k in places if nonmembers.patients[k] in first]),
        nonmembers.take([k for k in places if nonmembers.patients[k] not in first]),
    )


def scored(
    observations: Sequence[Observation],
    candidates: Group,
    background: Group,
    nulls: Group,
    score: Score,
    *,
    mirrored: bool = False,
) -> Scored:
    """Score ``candidates`` and compare them with ``nulls``.

    Args:
        observations: The update; or those of several rounds of one client, which are joined.
        candidates: Whom it is asked about.
        background: Certain non-members that the score may use.
        nulls: Others, of other patients.
        score: See `medleak.inversion.membership.scores`.
        mirrored: Try each image mirrored as well, and keep the better score: training flipped some.

    Raises:
        ValueError: The score can examine nothing in this update.
    """
    labels = None
    if candidates.labels is not None and nulls.labels is not None:
        labels = torch.cat([candidates.labels, nulls.labels])
    images, n = torch.cat([candidates.images, nulls.images]), len(candidates)
    parts: dict[str, Tensor] = {}
    for k, observation in enumerate(observations):
        x, behind = (i.to(observation.device) for i in (images, background.images))
        found = score(observation, x, labels, behind)
        if mirrored:
            other = score(observation, x.flip(-1), labels, behind)
            found = {name: torch.maximum(value, other[name]) for name, value in found.items()}
        parts |= {f"{name} of {k}": value for name, value in found.items()}
    values, null = joined(
        {k: v[:n] for k, v in parts.items()}, {k: v[n:] for k, v in parts.items()}
    )
    p = p_values(values, null, nulls.patients)
    return Scored(
        scores=values,
        nulls=null,
        null_patients=len(set(nulls.patients)),
        p=p,
        patients=patient_p_values(p, candidates.patients),
    )


def easy_auc(
    step: Callable[[Tensor, Tensor], Observation], background: Group, nulls: Group, score: Score
) -> float:
    """AUC of the score on images that are certainly in, against ``nulls``.

    Args:
        step: Observation of one step on images [B, C, ...] with labels [B].
        background: Its first images are the members, and are kept from the score.
        nulls: Those that are not in.
        score: To be tried.
    """
    members = background.take(range(min(MEMBERS, len(background) - 1)))
    behind = background.take(range(len(members), len(background)))
    labels = members.labels
    if labels is None or len(labels.unique()) < 2:
        labels = torch.arange(len(members)) % 2  # so that a step has something to learn
    found = scored([step(members.images, labels)], members, behind, nulls, score)
    return auc(found.scores, found.nulls)


def findings(
    found: Scored,
    member: NDArray[np.bool_] | None,
    patients: Sequence[Hashable],
    others: Sequence[tuple[Scored, NDArray[np.bool_]]],
    *,
    easy: float | None,
    views_known: bool,
    contradicted: str = "",
    copies: int = 0,
) -> Findings:
    """What is to be judged of one update.

    Args:
        found: The candidates against it.
        member: [N] who was in; None: nobody said.
        patients: [N] whose they are.
        others: The same candidates against other clients' updates, and [N] who of them was not in
            those.
        easy: See `easy_auc`.
        views_known: See `medleak.inversion.membership.rule.Findings`; ``contradicted`` and
            ``copies`` likewise.
    """
    told, nulls = None, []
    if member is not None and member.any() and not member.all():
        told = separation(found.scores, member, patients)
        nulls = [s for other, free in others if (s := _null(other, member, free, patients))]
    return Findings(
        separation=told,
        nulls=tuple(nulls),
        recognised=recognised(list(found.patients.values()), FALSE_RATE),
        null_recognised=max((_recognised(o, free, patients) for o, free in others), default=None),
        easy=easy,
        least_p=1 / (1 + found.null_patients),
        views_known=views_known,
        contradicted=contradicted,
        members=None if member is None else int(member.sum()),
        unscored=int(np.isnan(found.scores).sum() + np.isnan(found.nulls).sum()),
        constant=len(found.scores) > 1 and bool(np.ptp(found.scores) == 0),
        copies=copies,
    )


def _null(
    other: Scored, member: NDArray[np.bool_], free: NDArray[np.bool_], patients: Sequence[Hashable]
) -> Separation | None:
    kept = [int(k) for k in np.flatnonzero(free)]
    if not member[kept].any() or member[kept].all():
        return None
    return separation(other.scores[kept], member[kept], [patients[k] for k in kept])


def _recognised(other: Scored, free: NDArray[np.bool_], patients: Sequence[Hashable]) -> int:
    theirs = {p for p, f in zip(patients, free, strict=True) if not f}
    return recognised([p for who, p in other.patients.items() if who not in theirs], FALSE_RATE)
