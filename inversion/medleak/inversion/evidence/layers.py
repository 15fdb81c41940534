"""Find out, by one pass forward and back, which convolutions and norms a network has and runs.

Whether the signal at a convolution's output sums to zero is seen in that pass, not concluded from
the module that follows: in a DenseNet the norm stands behind a concatenation, and an instance norm
acts on each image.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

Centring = Literal["batch", "image", "none"]
"""Over what the back-propagated signal of a layer sums to zero, so that its patches count without
their mean: the batch (batch norm), each image (instance norm), or not at all."""

_ZERO = 1e-3  # of its absolute values' sum, what rounding leaves of a sum that is zero
_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvLayer:
    """A convolution as a forward pass met it, in one, two or three dimensions.

    Attributes:
        name: As in ``named_modules()``.
        kernel_size: A value a dimension; ``stride``, ``padding`` and ``dilation`` likewise.
        patch_size: Values in one input patch of one group, C_in / groups * k * k: columns of the
            flattened weight.
        out_channels: Rows of the flattened weight.
        positions: Output positions per image.
        norms_before: Norm layers that ran before it, in order.
        centred: Over what the signal at its output summed to zero.
        groups: Of channels; each has an update of its own.
    """

    name: str
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    patch_size: int
    out_channels: int
    positions: int
    norms_before: tuple[str, ...]
    centred: Centring
    groups: int = 1

    @property
    def normed(self) -> bool:
        """Whether the signal at its output sums to zero, over the batch or each image."""
        return self.centred != "none"

    @property
    def pointwise(self) -> bool:
        """Whether its patches are the channels of single pixels."""
        return set(self.kernel_size) == {1}

    def patches(self, x: Tensor) -> Tensor:
        """Input [B, C, ...] of the layer to its patches [B, positions, groups * patch_size]."""
        if x.ndim == 4:
            kernel, dilation = self.kernel_size, self.dilation
            columns = functional.unfold(x, kernel, dilation, self.padding, self.stride)
            return columns.transpose(1, 2)
        x = functional.pad(x, [p for q in reversed(self.padding) for p in (q, q)])
        for d, (kernel, stride, dilation) in enumerate(
            zip(self.kernel_size, self.stride, self.dilation, strict=True), start=2
        ):
            x = x.unfold(d, dilation * (kernel - 1) + 1, stride)[..., ::dilation]
        n = len(self.kernel_size)  # [B, C, positions..., kernel...]
        x = x.movedim(1, 1 + n)
        return x.reshape(x.shape[0], self.positions, -1)

    def folded(self, patches: Tensor, size: Sequence[int]) -> Tensor:
        """The adjoint of `patches`: [B, positions, ...] to inputs [B, C, *size], summed up."""
        if len(size) == 2:
            return functional.fold(
                patches.transpose(1, 2), tuple(size), self.kernel_size, self.dilation, self.padding
            )
        channels = self.groups * self.patch_size // _product(self.kernel_size)
        with torch.enable_grad():
            x = patches.new_zeros(len(patches), channels, *size, requires_grad=True)
            return torch.autograd.grad(self.patches(x), x, patches)[0]


@dataclass(frozen=True, slots=True)
class Survey:
    """What a forward pass ran.

    Attributes:
        convs: Convolutions (zero padding) that ran once, in order.
        norms: Batch norms that ran once, in order.
        order: Name of a layer in ``convs`` or ``norms`` -> when it ran.
        entrance: The convolution that alone took the network's input, if there is one.
    """

    convs: tuple[ConvLayer, ...]
    norms: tuple[str, ...]
    order: dict[str, int]
    entrance: str | None


def survey(network: nn.Module, x: Tensor) -> Survey:
    """Run ``network`` on ``x`` [B, C, ...] (model units) and list what ran.

    The network's buffers move as in any training-mode pass; hooks are taken off again. Two
    different images or more tell norms of a batch and of an image apart.
    """
    calls: list[tuple[str, nn.Module, Tensor, Tensor]] = []
    signals: dict[str, Tensor] = {}
    leaf = x.detach().requires_grad_()
    x = leaf.clone()  # a forward() may write to its input
    hooks = [
        module.register_forward_hook(
            lambda m, args, out, n=name: _seen(calls, signals, n, m, args, out)
        )
        for name, module in network.named_modules()
        if not any(module.children())
    ]
    try:
        with torch.enable_grad():
            _back(network(x), leaf)
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
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            norms.append(name)
            order[name] = when
        elif _is_plain(module):
            normed = any(_is_norm(m) and taken is out for _, m, taken, _ in calls)
            centred = _centred(signals.get(name), "batch" if normed else "none")
            convs.append(_describe(name, cast(nn.Conv2d, module), out, centred, tuple(norms)))
            order[name] = when
    takers = [(name, module) for name, module, taken, _ in calls if taken is x]
    alone = len(takers) == 1 and takers[0][0] in {c.name for c in convs if c.groups == 1}
    return Survey(tuple(convs), tuple(norms), order, takers[0][0] if alone else None)


def _seen(
    calls: list[tuple[str, nn.Module, Tensor, Tensor]],
    signals: dict[str, Tensor],
    name: str,
    module: nn.Module,
    args: tuple[Tensor, ...],
    out: Tensor,
) -> None:
    if not args or not isinstance(args[0], Tensor) or not isinstance(out, Tensor):
        return
    calls.append((name, module, args[0], out))
    if isinstance(module, _CONVS) and out.requires_grad:

        def keep(signal: Tensor) -> None:
            signals[name] = signal.detach().flatten(2).double()

        out.register_hook(keep)


def _back(output: object, leaf: Tensor) -> None:
    """Send a signal back to ``leaf`` that no layer treats as a special one."""
    while isinstance(output, tuple | list):
        output = output[0]
    if isinstance(output, Tensor) and output.requires_grad:
        weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(1))
        torch.autograd.grad((output.sigmoid() * weights.to(output)).sum(), leaf, allow_unused=True)


def _centred(signal: Tensor | None, otherwise: Centring) -> Centring:
    """Over what ``signal`` [B, C, positions] sums to zero; ``otherwise`` where there is none."""
    if signal is None or not torch.isfinite(signal).all() or not signal.any():
        return otherwise
    size = signal.abs().sum((0, 2)).norm()
    if signal.sum(2).abs().sum(0).norm() <= _ZERO * size:
        return "image"
    return "batch" if signal.sum((0, 2)).norm() <= _ZERO * size else "none"


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training


def _is_plain(module: nn.Module) -> bool:
    return (
        isinstance(module, _CONVS)
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
    )


def _describe(
    name: str, conv: nn.Conv2d, out: Tensor, centred: Centring, norms_before: tuple[str, ...]
) -> ConvLayer:
    return ConvLayer(
        name=name,
        kernel_size=conv.kernel_size,
        stride=conv.stride,
        padding=cast(tuple[int, ...], conv.padding),
        dilation=conv.dilation,
        patch_size=conv.weight[0].numel(),
        out_channels=conv.out_channels,
        positions=_product(out.shape[2:]),
        norms_before=norms_before,
        centred=centred,
        groups=conv.groups,
    )


def _product(sizes: Sequence[int]) -> int:
    found = 1
    for size in sizes:
        found *= size
    return found
