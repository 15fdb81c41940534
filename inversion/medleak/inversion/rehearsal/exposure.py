"""How many images of a batch a layer's gradient gives away by division: the closed form's reader.

Row r of a linear layer's gradient is sum_i d_ri x_i, its bias's sum_i d_ri: their ratio is an input
where one image has nearly all of the row to itself. Traps make that happen, whatever way they make
it: so it is measured here, on the images themselves, and not how the weights look.
"""

import torch
from torch import Tensor, nn

from medleak.inversion.rehearsal.step import Share, Step, as_rows

FEWEST_ROWS = 8
"""Below it a layer is an output of few classes, over which the loss decides."""
NEAR = 0.5
"""An image is given away where what is read differs from its input by less than this, relative to
how far the input lies from the batch's mean: below it X-rays come back with an SSIM of 0.7."""
_AT_ONCE = 512  # rows


def exposed(step: Step, near: float = NEAR) -> dict[str, int]:
    """For each layer that is looked at, how many images of the batch it gives away."""
    return {s.name: int((d <= near).sum()) for s in step.shares if (d := distances(s)) is not None}


def distances(share: Share) -> Tensor | None:
    """How near the nearest reading comes to each image's input [B]; 0: it is the input.

    Read are rows, and differences of rows that are neighbours by the slope of their bias (an
    imprint's bins). None: there is nothing to be read so, as the layer sees patches or has few
    rows.
    """
    found = as_rows(share)
    if found is None or found[1].shape[1] < FEWEST_ROWS:
        return None
    inputs, deltas, image = (t.double() if t.is_floating_point() else t for t in found)
    size = (inputs - inputs.mean(0)).norm(dim=1).clamp_min(1e-12)
    if isinstance(share.layer, nn.Linear) and share.layer.bias is None:
        nearest = _by_direction(deltas.T, inputs) / size
    else:
        order = deltas.sum(0).argsort()
        rows = torch.cat([deltas, deltas[:, order].diff(dim=1)], dim=1).T
        nearest = _by_ratio(rows, inputs) / size
    least = torch.full((int(image[-1]) + 1,), torch.inf, dtype=nearest.dtype)
    return least.scatter_reduce(0, image.cpu(), nearest.cpu(), "amin")


def _by_ratio(rows: Tensor, inputs: Tensor) -> Tensor:
    """Distance [N] of each input to the nearest of the readings of ``rows`` [K, N]."""
    nearest = torch.full((len(inputs),), torch.inf, dtype=inputs.dtype)
    largest = rows.abs().sum(1).max()
    for part in rows.split(_AT_ONCE):
        slope = part.sum(1, keepdim=True)
        told = slope.abs()[:, 0] > 1e-7 * largest
        if told.any():
            read = (part[told] / slope[told]) @ inputs
            nearest = torch.minimum(nearest, torch.cdist(read, inputs).amin(0))
    return nearest


def _by_direction(rows: Tensor, inputs: Tensor) -> Tensor:
    """Likewise without a bias: of a reading the direction is known, and its size is guessed."""
    best = torch.zeros(len(inputs), dtype=inputs.dtype)
    unit = nn.functional.normalize(inputs, dim=1)
    for part in rows.split(_AT_ONCE):
        read = nn.functional.normalize(part @ inputs, dim=1)
        best = torch.maximum(best, (read @ unit.T).abs().amax(0))
    return inputs.norm(dim=1) * (1 - best.square()).clamp_min(0).sqrt()
