"""What a client's float32 weights leave of its gradient, and a distance that takes it into account.

An update is the difference of two float32 weights, so a gradient read from it is off by up to half
a spacing of the weights over the learning rate. Where the network is sure of the label, that is
most of the gradient; but it is known for every entry, and for weights near zero it is tiny.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Relative to the gradient's root mean square: what an optimiser gets down to anyway. Entries
# known better than that get no more weight, or a few of them would decide everything.
_REACHABLE = 1e-3
_ON_GRID = 0.99  # share of the entries that must be differences of float32 weights


@dataclass(frozen=True, slots=True, eq=False)
class Precision:
    """How well each entry of an observed gradient is known.

    Attributes:
        weights: 1 / variance of each entry, in the order and shapes of the gradient.
        floor: Expected :meth:`distance` at the true images.
    """

    weights: Sequence[Tensor]
    floor: float

    def distance(self, candidate: Sequence[Tensor], observed: Sequence[Tensor]) -> Tensor:
        """Relative L2 distance under the weights: scalar, 0 where all agree."""
        rows = zip(self.weights, candidate, observed, strict=True)
        parts = [((w * (c - o).square()).sum(), (w * o.square()).sum()) for w, c, o in rows]
        gap = torch.stack([g for g, _ in parts]).sum()
        size = torch.stack([s for _, s in parts]).sum()
        # A square root has no gradient at 0: the shift makes it 0 there instead of NaN.
        return (gap / size.clamp_min(1e-30) + 1e-24).sqrt()


def precision(
    weights: Sequence[Tensor], update: Sequence[Tensor], gradient: Sequence[Tensor], lr: float
) -> Precision:
    """Precision of ``gradient`` = -``update`` / ``lr`` for float32 ``weights``.

    An update that is no difference of float32 weights (noise was added to it, or it was
    compressed) gets equal weights: its error is another, and not known.

    Args:
        weights: Global weights, float32.
        update: local - global, float32, same shapes.
        gradient: What attacks match, any float dtype; gives the result\'s dtype.
        lr: Learning rate.
    """
    on_grid = [((w + u) - w == u).flatten() for w, u in zip(weights, update, strict=True)]
    known = float(torch.cat(on_grid).double().mean()) >= _ON_GRID
    errors = [
        _spacing(w + u).to(g) / (12**0.5 * lr) if known else torch.zeros_like(g)
        for w, u, g in zip(weights, update, gradient, strict=True)
    ]
    return precision_of_errors(gradient, errors)


def precision_of_errors(gradient: Sequence[Tensor], errors: Sequence[Tensor]) -> Precision:
    """Precision of a gradient whose entries have these standard deviations; inf: not known."""
    count = sum(g.numel() for g in gradient)
    mean_square = float(sum(g.square().sum() for g in gradient)) / count
    least = _REACHABLE**2 * mean_square + 1e-30
    found = [1 / (e.square() + least) for e in errors]
    noise = sum(float((w * e.square())[w > 0].sum()) for w, e in zip(found, errors, strict=True))
    size = sum(float((w * g.square()).sum()) for w, g in zip(found, gradient, strict=True))
    return Precision(found, (noise / max(size, 1e-30)) ** 0.5)


def _spacing(values: Tensor) -> Tensor:
    """Distance of each value to the next larger one of its dtype."""
    size = values.abs()
    return torch.nextafter(size, torch.full_like(size, torch.inf)) - size
