"""How many directions a convolution's update has: from its singular values, not from the modules.

Patches of all images at all positions span as many directions as there are of them, less what the
back-propagated signal's sum to zero takes away: one a batch, one an image, or none
(:data:`medleak.inversion.evidence.layers.Centring`). A pass through the network says what to
expect; where the singular values show another of these ranks, they are right.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from medleak.inversion.evidence.algebra.row_spaces import RowBasis, decomposed, row_space
from medleak.inversion.evidence.layers import Centring, ConvLayer
from medleak.inversion.evidence.steps import LocalStep

_CLEAR = 3.0  # a gap from which on the rank is what was expected; noise makes 1.0 to 1.2
_OTHERWISE = 10.0  # a gap that shows another rank than expected
_VOTES = 3  # enough to tell
_FAINT = 1e-4  # of the largest singular value: below, a gap may be one within the rounding
_FULL = 0.9  # of the entries: an update with more zeros was thinned out, and its rank says that
_POINTWISE = 0.8  # of a pixel's channels: with more directions the rest tells little


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """A convolution whose update's row space is the span of its input patches."""

    conv: ConvLayer
    space: RowBasis


def read_span(
    conv: ConvLayer, weight: Tensor, steps: Sequence[LocalStep], rounding: float = 0.0
) -> Span | None:
    """The row space of an update of ``conv``; None where no rank fits into it.

    ``rounding`` is the standard deviation that it left on an entry.
    """
    fitting = fitting_ranks(conv, steps)
    if conv.centred not in fitting or not weight.any():
        return None
    found = decomposed(conv.matrix(weight))
    gaps: dict[Centring, float] = {c: found.gap(r) for c, r in fitting.items()}
    chosen: Centring = conv.centred
    if gaps[chosen] < _CLEAR and max(gaps.values()) >= _OTHERWISE:
        chosen = max(gaps, key=lambda c: gaps[c])
        conv = dataclasses.replace(conv, centred=chosen)
    return Span(conv, row_space(found, fitting[chosen], rounding))


def fitting_ranks(conv: ConvLayer, steps: Sequence[LocalStep]) -> Mapping[Centring, int]:
    """Of `possible_ranks`, those that leave room to be told, the expected one first; or none."""
    limit = min(conv.rows, conv.patch_size)
    most = int(_POINTWISE * conv.patch_size) if conv.pointwise else limit - 1
    single = conv.pointwise and conv.positions == 1  # the mean of a map: it has no place
    if conv.groups > 1 or single:
        return {}
    ranks = possible_ranks(conv, steps)
    order: list[Centring] = sorted(ranks, key=lambda c: c != conv.centred)
    return {c: ranks[c] for c in order if 1 <= ranks[c] <= min(most, limit - 1)}


def possible_ranks(conv: ConvLayer, steps: Sequence[LocalStep]) -> Mapping[Centring, int]:
    """Directions of all patches, by what they count without."""
    images = sum(s.size * s.visits for s in steps)
    every = images * conv.positions
    batches = sum(s.visits for s in steps)
    return {"batch": every - batches, "image": every - images, "none": every}


def beyond(
    convs: Sequence[ConvLayer], update: Mapping[str, Tensor], images: int
) -> tuple[str, int, int] | None:
    """A convolution with more directions than ``images`` have patches, that rank, and their number.

    Only where the first few that have a clear rank agree. Every visit of an image counts, as
    weights may have moved between them. An update with noise, of Adam or thinned out has none.
    """
    found = []
    for conv in convs:
        most, weight = images * conv.positions, update[f"{conv.name}.weight"]
        if conv.groups > 1 or not weight.any():
            continue
        matrix = conv.matrix(weight).flatten(1)
        matrix = matrix[matrix.any(1)][:, matrix.any(0)]
        limit = min(matrix.shape)
        if most >= limit - 1 or matrix.count_nonzero() < _FULL * matrix.numel():
            continue
        values = decomposed(matrix).values[:limit]
        gaps = values[:-1] / values[1:]
        rank = 1 + int(gaps[values[:-1] > _FAINT * values[0]].argmax())
        if gaps[rank - 1] < _OTHERWISE or values[-1] == 0:
            continue
        found.append((conv.name, rank, most) if rank > most else None)
        if len(found) == _VOTES:
            break
    return found[0] if found and all(found) else None


def visits_show(
    convs: Sequence[ConvLayer],
    update: Mapping[str, Tensor],
    together: Sequence[LocalStep],
    apart: Sequence[LocalStep],
) -> bool:
    """Whether a batch's visits have directions of their own: weights moved much between them.

    By the majority of the first convolutions with room for all of them.
    """
    votes = []
    for conv in convs:
        limit = min(conv.rows, conv.patch_size)
        one, every = (possible_ranks(conv, s)[conv.centred] for s in (together, apart))
        weight = update[f"{conv.name}.weight"]
        if conv.pointwise or conv.groups > 1 or one < 1 or every >= limit or not weight.any():
            continue
        found = decomposed(conv.matrix(weight))
        votes.append(found.gap(every) >= max(_OTHERWISE, found.gap(one)))
        if len(votes) == _VOTES:
            break
    return sum(votes) > len(votes) / 2


def ran_frozen(
    convs: Sequence[ConvLayer], update: Mapping[str, Tensor], steps: Sequence[LocalStep]
) -> bool:
    """Whether ranks tell that batch norms were in evaluation mode, though ``convs`` expect else.

    By the majority of the first convolutions that a batch norm centres and whose rank has room.
    """
    votes = []
    for conv in convs:
        ranks, limit = possible_ranks(conv, steps), min(conv.rows, conv.patch_size)
        weight = update[f"{conv.name}.weight"]
        if conv.centred != "batch" or conv.groups > 1 or ranks["batch"] < 1:
            continue
        if ranks["none"] >= limit or not weight.any():
            continue
        found = decomposed(conv.matrix(weight))
        frozen, trained = found.gap(ranks["none"]), found.gap(ranks["batch"])
        if max(frozen, trained) >= _OTHERWISE:
            votes.append(frozen > trained)
        if len(votes) == _VOTES:
            break
    return sum(votes) > len(votes) / 2
