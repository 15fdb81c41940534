"""Find out, by one forward pass, which convolutions and norm layers a network has and runs."""

from collections import Counter
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

_Pair = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvLayer:
    """A convolution as a forward pass met it.

    Attributes:
        name: As in ``named_modules()``.
        kernel_size: (height, width); ``stride``, ``padding`` and ``dilation`` likewise.
        patch_size: Values in one input patch, C_in * k * k: columns of the flattened weight.
        out_channels: Rows of the flattened weight.
        positions: Output positions per image, h * w.
        normed: A batch norm takes the output directly, so that the back-propagated signal sums
            to zero over the batch.
        norms_before: Norm layers that ran before it, in order.
    """

    name: str
    kernel_size: _Pair
    stride: _Pair
    padding: _Pair
    dilation: _Pair
    patch_size: int
    out_channels: int
    positions: int
    normed: bool
    norms_before: tuple[str, ...]

    def patches(self, x: Tensor) -> Tensor:
        """Input [B, C, H, W] of the layer to its patches [B, positions, patch_size]."""
        columns = functional.unfold(x, self.kernel_size, self.dilation, self.padding, self.stride)
        return columns.transpose(1, 2)


@dataclass(frozen=True, slots=True)
class Survey:
    """What a forward pass ran.

    Attributes:
        convs: Plain 2-D convolutions (one group, zero padding) that ran once, in order.
        norms: ``BatchNorm2d`` layers that ran once, in order.
        order: Name of a layer in ``convs`` or ``norms`` -> when it ran.
        entrance: The convolution that alone took the network's input, if there is one.
    """

    convs: tuple[ConvLayer, ...]
    norms: tuple[str, ...]
    order: dict[str, int]
    entrance: str | None


def survey(network: nn.Module, x: Tensor) -> Survey:
    """Run ``network`` on ``x`` [B, C, H, W] (model units) and list what ran.

    The network's buffers move as in any training-mode pass; hooks are taken off again.
    """
    calls: list[tuple[str, nn.Module, Tensor, Tensor]] = []
    hooks = [
        module.register_forward_hook(
            lambda m, args, out, n=name: calls.append((n, m, args[0], out))
        )
        for name, module in network.named_modules()
        if not any(module.children())
    ]
    try:
        with torch.no_grad():
            network(x)
    finally:
        for hook in hooks:
            hook.remove()
    once = {n for n, count in Counter(name for name, *_ in calls).items() if count == 1}
    norms: list[str] = []
    convs: list[ConvLayer] = []
    order: dict[str, int] = {}
    for when, (name, module, _, out) in enumerate(calls):
        if name not in once:
            continue
        if isinstance(module, nn.BatchNorm2d):
            norms.append(name)
            order[name] = when
        elif _is_plain(module):
            normed = any(isinstance(m, nn.BatchNorm2d) and taken is out for _, m, taken, _ in calls)
            convs.append(_describe(name, cast(nn.Conv2d, module), out, normed, tuple(norms)))
            order[name] = when
    takers = [(name, module) for name, module, taken, _ in calls if taken is x]
    alone = len(takers) == 1 and _is_plain(takers[0][1]) and takers[0][0] in once
    return Survey(tuple(convs), tuple(norms), order, takers[0][0] if alone else None)


def _is_plain(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and module.groups == 1
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
    )


def _describe(
    name: str, conv: nn.Conv2d, out: Tensor, normed: bool, norms_before: tuple[str, ...]
) -> ConvLayer:
    return ConvLayer(
        name=name,
        kernel_size=cast(_Pair, conv.kernel_size),
        stride=cast(_Pair, conv.stride),
        padding=cast(_Pair, conv.padding),
        dilation=cast(_Pair, conv.dilation),
        patch_size=conv.weight[0].numel(),
        out_channels=conv.out_channels,
        positions=out.shape[2] * out.shape[3],
        normed=normed,
        norms_before=norms_before,
    )
