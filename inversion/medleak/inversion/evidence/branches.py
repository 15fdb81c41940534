"""Branches that a client's step may have skipped at random: stochastic depth, drop path.

With one image in one step an update says which were skipped: what lies in a skipped branch alone
got a gradient of exactly zero. The others were scaled up by what the network expects to skip.

Source: Huang et al. 2016, "Deep networks with stochastic depth", arXiv:1603.09382v3.
"""

import copy
from collections.abc import Callable, Collection, Mapping
from typing import cast

import torch
from torch import Tensor, nn

_RATES = ("drop_prob", "p")  # as timm, MONAI and torchvision call it
_BLOCK = "drop_connect_rate"  # of MONAI's EfficientNet: a block that skips itself, without a module
_END = "_bn2"  # of such a block


def random_branches(network: nn.Module) -> dict[str, float]:
    """Modules that skip a branch at random in training mode, and how often, in (0, 1)."""
    found = {name: _rate(module) for name, module in network.named_modules()}
    return {name: rate for name, rate in found.items() if 0 < rate < 1}


def set_branches(network: nn.Module, factors: Mapping[str, float]) -> None:
    """Multiply each branch by its factor instead of skipping it at random; in place."""
    for name, factor in factors.items():
        module = network.get_submodule(name)
        if hasattr(module, _BLOCK):
            setattr(module, _BLOCK, None)
            module.get_submodule(_END).register_forward_hook(_scaling(factor))
        else:
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, _Branch(factor))


def factors(
    network: nn.Module, update: Mapping[str, Tensor], example: Tensor, *, together: bool
) -> dict[str, float]:
    """What each branch of a client's network was multiplied by.

    Args:
        network: With random branches; not changed.
        update: By parameter.
        example: [B, C, ...], any input in model units.
        together: All images of the update shared one choice (one image in one step). Else only a
            branch that no image took is known: the others count as they would on the mean.

    Returns:
        0 for a skipped branch; for others 1 / (1 - rate), or 1 if not ``together``.
    """
    rates = random_branches(network)
    if not rates:
        return {}
    never = _silent(network, None, rates, example)
    skipped = {
        name for name in rates if _is_zero(update, _silent(network, name, rates, example) - never)
    }
    return {
        name: 0.0 if name in skipped else 1 / (1 - rate) if together else 1.0
        for name, rate in rates.items()
    }


class _Branch(nn.Module):
    """Takes the place of a module that skips its input at random."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self._factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self._factor


def _scaling(factor: float) -> Callable[..., Tensor]:
    def scale(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output * factor

    return scale


def _rate(module: nn.Module) -> float:
    if hasattr(module, _BLOCK):
        takes = getattr(module, "stride", 1) == 1 and getattr(module, "id_skip", False)
        same = getattr(module, "in_channels", 0) == getattr(module, "out_channels", 1)
        return float(getattr(module, _BLOCK) or 0) if takes and same else 0.0
    if any(module.children()) or type(module).__name__ not in ("StochasticDepth", "DropPath"):
        return 0.0
    return next((float(getattr(module, n) or 0) for n in _RATES if hasattr(module, n)), 0.0)


def _silent(
    network: nn.Module, skipped: str | None, branches: Collection[str], example: Tensor
) -> frozenset[str]:
    """Parameters without a gradient where one branch is skipped."""
    clone = copy.deepcopy(network).train().requires_grad_()
    for module in clone.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.eval()
    set_branches(clone, {n: float(n != skipped) for n in branches})
    with torch.enable_grad():
        output = clone(example)
        while isinstance(output, tuple | list):
            output = output[0]
        weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(1))
        loss = (cast(Tensor, output).sigmoid() * weights.to(output)).sum()
        gradients = torch.autograd.grad(loss, list(clone.parameters()), allow_unused=True)
    names = [n for n, _ in clone.named_parameters()]
    return frozenset(n for n, g in zip(names, gradients, strict=True) if g is None or not g.any())


def _is_zero(update: Mapping[str, Tensor], names: Collection[str]) -> bool:
    seen = [update[n] for n in names if n in update]
    return bool(seen) and not any(bool(u.any()) for u in seen)
