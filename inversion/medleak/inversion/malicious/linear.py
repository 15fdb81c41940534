"""What the gradient of a linear layer says of its inputs: the arithmetic that all attacks share.

Row r of the gradient is sum_i d_ri x_i, that of the bias sum_i d_ri, over the images whose neuron
was active; a row with one such image is that image. Only ratios are used, so that an update of one
step serves as well as a gradient, whatever the learning rate.
"""

import torch
from torch import Tensor

_TINY = 1e-6  # of the largest: below it float32's rounding decides


def single_rows(weight: Tensor, bias: Tensor) -> Tensor:
    """Inputs [K, D] that rows [R, D] give if one image alone reached each; mixtures else."""
    told = bias.abs() > _TINY * bias.abs().max()
    return weight[told] / bias[told, None]


def between_rows(weight: Tensor, bias: Tensor) -> Tensor:
    """Inputs [K, D] of images between the thresholds of neighbouring rows, in their order.

    The rows are sorted by threshold, the lowest first: what reaches a row and not the next lies
    between the two.
    """
    closed = torch.zeros_like(bias[:1])
    step = torch.cat([bias, closed]).double().diff()
    rows = torch.cat([weight, torch.zeros_like(weight[:1])]).double().diff(dim=0)
    told = step.abs() > _TINY * step.abs().max()
    return (rows[told] / step[told, None]).float()


def distinct(inputs: Tensor, same: float = 0.999) -> tuple[Tensor, Tensor]:
    """Inputs that are not each other's copies, and how many rows gave each: [K, D], [K].

    One image reaches many neurons, a mixture hardly ever twice; so what was given often is one
    image. The most frequent come first.
    """
    unit = torch.nn.functional.normalize(inputs, dim=1)
    alike = unit @ unit.T > same
    left = torch.ones(len(inputs), dtype=torch.bool)
    chosen, counts = [], []
    for k in alike.sum(1).argsort(descending=True).tolist():
        if left[k]:
            group = alike[k] & left
            chosen.append(k)
            counts.append(int(group.sum()))
            left &= ~group
    return inputs[chosen], torch.tensor(counts)


def thresholds(values: Tensor, count: int) -> Tensor:
    """``count`` rising numbers that cut a normal law, fitted to public ``values``, evenly."""
    shares = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    normal = torch.special.ndtri(shares).to(values.dtype)
    return values.mean() + values.std() * normal
