"""Whether an attempt found its images, or is stuck: by its own losses, as a server would judge.

Judged is the first row space, however the images were found, with the statistics that a pass up to
it shows: later layers are less exact over epochs. Tokens have most of their energy in common, so
that the first row space of them lets any image pass (Swin-T at 64 px: the prior has 2e-5 outside of
it); of tokens all row spaces are judged.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from medleak.inversion.attacks.row_space.recipes import STATISTICS, sharp
from medleak.inversion.attacks.row_space.stages import Matching, Stage
from medleak.inversion.evidence.several_rounds import Rounds
from medleak.inversion.evidence.terms import Compared, Terms, terms

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


def judged(rounds: Rounds, images: Tensor) -> Terms:
    """The terms of ``images`` [N, C, *size] that count; no gradient."""
    with torch.no_grad():
        return Matching(rounds, _stage(rounds)).terms(images)


def loss_of(found: Terms) -> float:
    """By which attempts are compared."""
    return float(found.statistics + found.span)


def is_near(rounds: Rounds, images: Tensor) -> bool:
    """Whether the row space says that finer evidence can help ``images``."""
    return float(judged(rounds, images).span) <= _STUCK.span + _span_noise(rounds)


def is_stuck(rounds: Rounds, images: Tensor, found: Terms, outset: Terms) -> bool:
    """Whether the attack failed as far as it can tell.

    Args:
        rounds: The evidence.
        images: [N, C, *size], where it ended.
        found: Their terms; ``outset``: those of what everybody has.
    """
    limits = _STUCK if len(images) == 1 else _limits_of_several(rounds, images)
    if not limits.hold(found, rounds):
        return True
    return float(found.span) > _FALLEN * float(outset.span) + _span_noise(rounds)


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
