"""Whether an attempt found its images, or is stuck: by its own losses, as a server would judge.

Judged is the first row space, however the images were found, with the statistics that a pass up to
it shows: later layers are less exact over epochs. Tokens have most of their energy in common, so
that the first row space of them lets any image pass (Swin-T at 64 px: the prior has 2e-5 outside of
it); of tokens all row spaces are judged. Without batch norm other images may lie in the first row
space (ConvNeXt-T at 32 px: 2e-7 outside of it, SSIM 0.29), which the later ones tell: they too must
have come most of the way.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from medleak.inversion.attacks.row_space.recipes import STATISTICS, sharp
from medleak.inversion.attacks.row_space.stages import Matching, Stage
from medleak.inversion.evidence.several_rounds import Rounds
from medleak.inversion.evidence.terms import Compared, Terms, outside, terms

_FIRST = sharp(100)
_ALL = replace(_FIRST, spans="all")


@dataclass(frozen=True, slots=True)
class Limits:
    """What the two terms of a result may be at most; noise on the update adds its own."""

    statistics: float
    span: float

    def hold(self, judged: Terms, rounds: Rounds) -> bool:
        """Whether ``judged`` lies below, given what noise makes of the terms at the truth."""
        noise = 1.5 * rounds.statistics_noise
        if float(judged.statistics) > self.statistics + noise:
            return False
        return float(judged.span) <= self.span + _span_noise(rounds)


# Images that are clearly found lie below the first, those of a wrong valley above the third;
# between, another way is tried and the best is kept.
_FOUND = Limits(0.01, 5e-4)
_FOUND_WITHHELD = Limits(0.01, 1e-3)  # rows alone end higher
_STUCK = Limits(0.01, 0.003)
_STUCK_BATCH = Limits(0.01, 0.01)  # several images take longer, and end higher
# With recovered features matched to this share on the mean, higher statistics of several steps tell
# of weights that moved meanwhile: at the true images, those of eight steps are at 0.008.
_MATCHED, _STUCK_MATCHED = 0.003, Limits(0.02, 0.01)
# Of what the start has outside of the row spaces, so much may be left at most: where any image has
# next to nothing there, little of it is no sign of having arrived.
_FALLEN = 0.1
# Likewise of all row spaces, at their median: wrong images had 0.12 (Swin-T) and 0.25 (ConvNeXt-T)
# left, right ones 0.02 at most (those of group norm and Swin-T at an SSIM of 0.87).
_FALLEN_ALL = 0.05
# Row spaces that must agree: in a single one, of ConvNeXt-T at 64 px, a wrong image (SSIM 0.29)
# came down to 2e-4 of what the start has outside.
_ENOUGH = 2
_LEAST = 1e-9  # a share that no start is below, but by rounding


@dataclass(frozen=True, slots=True, eq=False)
class Outset:
    """What everybody's guess has.

    Attributes:
        judged: Its terms that count.
        outside: By row space, the share of its patches' energy outside; not looked at where there
            are statistics.
    """

    judged: Terms
    outside: Sequence[float]


def judged(rounds: Rounds, images: Tensor) -> Terms:
    """The terms of ``images`` [N, C, *size] that count; no gradient."""
    with torch.no_grad():
        return Matching(rounds, _stage(rounds)).terms(images)


def outset(rounds: Rounds, guess: Tensor) -> Outset:
    """Of ``guess`` [N, C, *size], the prior or gray."""
    return Outset(judged(rounds, guess), () if rounds.norms else outside(rounds, guess))


def loss_of(found: Terms) -> float:
    """By which attempts are compared."""
    return float(found.statistics + found.span)


def is_near(rounds: Rounds, images: Tensor) -> bool:
    """Whether the row space says that finer evidence can help ``images``."""
    return float(judged(rounds, images).span) <= _STUCK.span + _span_noise(rounds)


def is_stuck(rounds: Rounds, images: Tensor, found: Terms, began: Outset) -> bool:
    """Whether the attack failed as far as it can tell.

    Args:
        rounds: The evidence.
        images: [N, C, *size], where it ended.
        found: Their terms.
        began: What everybody has.
    """
    limits = _STUCK if len(images) == 1 else _limits_of_several(rounds, images)
    if not limits.hold(found, rounds):
        return True
    noise = _span_noise(rounds)
    if float(found.span) > _FALLEN * float(began.judged.span) + noise:
        return True
    if rounds.norms:
        return False
    if len(rounds.spans) < _ENOUGH:
        return True
    left = [
        max(now - noise, 0) / max(then, _LEAST)
        for now, then in zip(outside(rounds, images), began.outside, strict=True)
    ]
    return statistics.median(left) > _FALLEN_ALL


def is_clear(rounds: Rounds, images: Tensor, found: Terms) -> bool:
    """Of images that are not stuck: whether no further way is worth its time."""
    if len(images) > 1:
        return True
    return (_FOUND if rounds.norms else _FOUND_WITHHELD).hold(found, rounds)


def _stage(rounds: Rounds) -> Stage:
    if not rounds.spans:
        return STATISTICS
    first = next(iter(rounds.spans.values()))
    return _ALL if first.conv.kind == "linear" else _FIRST


def _limits_of_several(rounds: Rounds, images: Tensor) -> Limits:
    features = tuple(rounds.features)
    if not features or len(rounds.steps) == 1:
        return _STUCK_BATCH
    with torch.no_grad():
        apart = terms(rounds, images, Compared(features=features)).features
    return _STUCK_MATCHED if float(apart) <= _MATCHED else _STUCK_BATCH


def _span_noise(rounds: Rounds) -> float:
    return 2 * max((s.space.noise for s in rounds.spans.values()), default=0.0)
