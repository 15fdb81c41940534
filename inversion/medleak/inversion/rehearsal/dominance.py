"""Does one image dominate a batch's gradient, and does the loss of one class explode?

The disaggregation signal-to-noise ratio of Garov, Dimitrov, Jovanović, Vechev, "Hiding in Plain
Sight", arXiv:2306.03013: of each layer the largest norm of one image's part of the gradient, over
the sum of all others'.
"""

import math

import torch
from torch import Tensor, nn

from medleak.inversion.rehearsal.step import Share, Step


def ratios(step: Step) -> dict[str, float]:
    """For each layer its ratio; inf where one image alone has a gradient, 0 where none has."""
    return {s.name: _ratio(part_norms(s)) for s in step.shares}


def part_norms(share: Share) -> Tensor:
    """Norm of each image's part of the weight's gradient [B]."""
    inputs, deltas = share.inputs.double(), share.deltas.double()
    if isinstance(share.layer, nn.Linear):
        x, d = (t.reshape(len(t), -1, t.shape[-1]) for t in (inputs, deltas))
        # The norm of a sum of outer products, by its Gram matrices: tokens are fewer than weights.
        return torch.einsum("bst,bst->b", x @ x.mT, d @ d.mT).clamp_min(0).sqrt()
    return torch.stack([_convolved(share, k) for k in range(len(inputs))])


def class_losses(step: Step, labels: Tensor, classes: int) -> dict[int, float]:
    """Mean loss of each class of the batch, in units of what guessing costs."""
    guess = math.log(max(classes, 2))
    found = {}
    for label in labels.unique().tolist():
        found[int(label)] = float(step.losses[labels == label].mean()) / guess
    return found


def _ratio(norms: Tensor) -> float:
    largest, total = float(norms.max()), float(norms.sum())
    if total <= 0:
        return 0.0
    rest = total - largest
    return largest / rest if rest > 1e-12 * total else math.inf


def _convolved(share: Share, image: int) -> Tensor:
    layer = share.layer
    assert isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d)  # noqa: S101
    weight = layer.weight.detach().clone().requires_grad_()
    with torch.enable_grad():
        x = share.inputs[image : image + 1]
        output = layer._conv_forward(x, weight, None)  # pyright: ignore[reportArgumentType]
    (slope,) = torch.autograd.grad(output, weight, share.deltas[image : image + 1])
    return slope.double().norm()
