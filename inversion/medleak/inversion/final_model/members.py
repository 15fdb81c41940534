"""Membership in a model, by how its confidence in an image differs from that of references.

Two scores of the literature, of which the caller names one before he looks:

- ``lira``: standard deviations above the references (Carlini et al. 2022, arXiv:2112.03570v2,
  section VI, offline, one spread for all images as references are few).
- ``rmia``: share of images of nobody's over which the image's likelihood ratio prevails (Zarifzadeh
  et al. 2024, arXiv:2312.03262v3, eq. 4 and 10, offline, gamma = 1).
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medleak.inversion.final_model.references import Task, Training, confidences, trained
from medleak.inversion.membership.assessment import Group, Scored, findings
from medleak.inversion.membership.calibration import p_values, patient_p_values
from medleak.inversion.membership.easy import MEMBERS
from medleak.inversion.membership.lists import near_copies
from medleak.inversion.membership.roc import auc
from medleak.inversion.membership.rule import Findings

_EASY_EPOCHS = 40  # until a handful of images is known by heart
_OFFLINE = 0.3  # RMIA's a: how far references that never saw an image stand in for those that did
Floats = NDArray[np.float64]
Score = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""(model's [N], references' [M, N], model's of nobody's [Z], references' of nobody's) -> [N]."""


def lira(target: Tensor, references: Tensor, _: Tensor, behind: Tensor) -> Tensor:
    """[N] standard deviations of ``target`` above the references' mean."""
    spread = behind.std(0).mean().clamp_min(1e-6)
    return (target - references.mean(0)) / spread


def rmia(target: Tensor, references: Tensor, nobody: Tensor, behind: Tensor) -> Tensor:
    """[N] share of images of nobody's whose likelihood ratio is smaller."""
    own, other = _ratio(target, references), _ratio(nobody, behind)
    return (own[:, None] >= other[None]).double().mean(1)


def _ratio(target: Tensor, references: Tensor) -> Tensor:
    probability, mean = target.sigmoid(), references.sigmoid().mean(0)
    mean = ((1 + _OFFLINE) * mean + 1 - _OFFLINE) / 2
    return probability / mean.clamp_min(1e-12)


SCORES: Mapping[str, Score] = {"lira": lira, "rmia": rmia}
"""By name."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Groups:
    """Labelled images.

    Attributes:
        candidates: Whom it is asked about; ``member`` [N] who was in, None: nobody said.
        background: Of nobody's, that scores may use.
        nulls: Of nobody's, other patients, that candidates are compared with.
    """

    candidates: Group
    member: NDArray[np.bool_] | None
    background: Group
    nulls: Group


def assess(
    task: Task,
    model: nn.Module,
    references: Sequence[nn.Module],
    groups: Groups,
    name: str,
    training: Training,
    generator: torch.Generator,
) -> tuple[Scored, Findings]:
    """Scores with p-values of the candidates, and what is to be judged.

    The null is the last reference in the model's place, against the others: it had no candidate.
    The easy case is a network that learnt a few images of nobody's by heart, in a wrong class: in
    the right one any good model is sure of them.

    Raises:
        ValueError: The score is unknown, or images have no labels.
    """
    if name not in SCORES:
        raise ValueError(f"Unknown score {name!r} of a model; known are {', '.join(SCORES)}.")
    parts = [groups.candidates, groups.nulls, groups.background]
    everything = torch.cat([g.images for g in parts])
    labels = torch.cat([_labels(g) for g in parts])
    rows = confidences(task, [model, *references], everything, labels)
    found = _scored(rows[0], rows[1:], groups, name)
    other = _scored(rows[-1], rows[1:-1], groups, name)
    patients: Sequence[Hashable] = groups.candidates.patients
    nobody_in = np.ones(len(patients), dtype=np.bool_)
    easy = _easy(task, references, groups, name, training, generator)
    member = groups.member
    return found, findings(
        found,
        member,
        patients,
        [(other, nobody_in)],
        easy=easy,
        views_known=True,
        copies=0 if member is None else near_copies(groups.candidates.images, member),
    )


def _scored(target: Tensor, references: Tensor, groups: Groups, name: str) -> Scored:
    n, m = len(groups.candidates), len(groups.nulls)
    behind, nobody = references[:, n + m :], target[n + m :]
    values = SCORES[name](target[: n + m], references[:, : n + m], nobody, behind).numpy()
    p = p_values(values[:n], values[n:], groups.nulls.patients)
    return Scored(
        scores=values[:n],
        nulls=values[n:],
        null_patients=len(set(groups.nulls.patients)),
        p=p,
        patients=patient_p_values(p, groups.candidates.patients),
    )


def _easy(
    task: Task,
    references: Sequence[nn.Module],
    groups: Groups,
    name: str,
    training: Training,
    generator: torch.Generator,
) -> float:
    members = groups.background.take(range(min(MEMBERS, len(groups.background) - 1)))
    behind = groups.background.take(range(len(members), len(groups.background)))
    parts = [members, groups.nulls, behind]
    everything, labels = torch.cat([g.images for g in parts]), torch.cat(list(map(_labels, parts)))
    # Of two classes the other, of more the next: of a single output there are two.
    wrong = (labels + 1) % max(2, int(labels.max()) + 1)
    own = wrong[: len(members)]
    learnt = trained(task, members.images, own, training, generator, epochs=_EASY_EPOCHS)
    rows = confidences(task, [learnt, *references], everything, wrong)
    easy = Groups(candidates=members, member=None, background=behind, nulls=groups.nulls)
    found = _scored(rows[0], rows[1:], easy, name)
    return auc(found.scores, found.nulls)


def _labels(group: Group) -> Tensor:
    if group.labels is None:
        raise ValueError(
            "Membership in a model is told by its confidence in an image's class, and some images "
            "have none: give datalists with labels, not folders."
        )
    return group.labels
