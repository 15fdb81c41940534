"""How well an update's entries are known: rounding of weights, or noise that was added."""

import torch
from torch import Tensor

_ON_GRID = 0.99  # share of the entries that must be differences of such weights


def rounding_variance(weight: Tensor, update: Tensor) -> Tensor | None:
    """Variance of each entry of ``update`` = local - global, from the rounding of the local weight.

    None where the update is no difference of float32 weights: noise was added to it, or it was
    compressed, and its error is another.

    Args:
        weight: Global, float32.
        update: Same shape.
    """
    local = weight + update
    if float(((local - weight) == update).double().mean()) < _ON_GRID:
        return None
    size = local.abs()
    spacing = torch.nextafter(size, torch.full_like(size, torch.inf)) - size
    return spacing.double().square() / 12


def added_variance(signal: Tensor, bias: Tensor | None) -> float:
    """Variance of the noise on the tokens' ``signal`` [n, D], whose rows sum to the bias' own.

    Without a bias [D], the most that the least singular value allows.
    """
    tokens, width = signal.shape
    if bias is not None:
        gap = signal.double().sum(0) - bias.double()
        return float(gap.square().mean()) / (tokens + 1)
    if tokens >= width:
        return float(signal.double().square().mean())
    least = float(torch.linalg.svdvals(signal.double())[-1])
    return (least / (width**0.5 - tokens**0.5)) ** 2
