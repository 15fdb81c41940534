"""Find out, by one pass forward and back, which convolutions and norms a network has and runs.

A transposed convolution and a linear layer on tokens are listed with the convolutions: what their
updates mix are vectors of their inputs' channels, as in a convolution of kernel 1.

Whether the signal at a convolution's output sums to zero is seen in that pass, not concluded from
the module that follows: in a DenseNet the norm stands behind a concatenation, and an instance norm
acts on each image.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

Centring = Literal["batch", "image", "none"]
"""Over what the back-propagated signal of a layer sums to zero, so that its patches count without
their mean: the batch (batch norm), each image (instance norm), or not at all."""

_ZERO = 1e-3  # of its absolute values' sum, what rounding leaves of a sum that is zero
_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)

Kind = Literal["conv", "transposed", "linear"]
"""Of a layer: where its inputs' channels stand, and what its update mixes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvLayer:
    """A convolution as a forward pass met it, in one, two or three dimensions.

    Attributes:
        name: As in ``named_modules()``.
        kernel_size: A value a dimension; ``stride``, ``padding`` and ``dilation`` likewise. Of a
            linear layer 1.
        patch_size: Values in one input patch of one group, C_in / groups * k * k, of a transposed
            convolution C_in / groups: columns of `matrix`.
        out_channels: Of the layer.
        positions: Places of an image where a patch is taken: output positions; of a transposed
            convolution those of its input, of a linear layer tokens.
        norms_before: Norm layers that ran before it, in order.
        centred: Over what the signal that its patches are mixed with summed to zero.
        groups: Of channels; each has an update of its own.
        kind: A transposed convolution and a linear layer take single pixels, or tokens, for
            patches.
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
    kind: Kind = "conv"

    @property
    def normed(self) -> bool:
        """Whether the signal at its output sums to zero, over the batch or each image."""
        return self.centred != "none"

    @property
    def pointwise(self) -> bool:
        """Whether its patches are the channels of single pixels."""
        return self.kind != "conv" or set(self.kernel_size) == {1}

    @property
    def rows(self) -> int:
        """Of `matrix`, each of which mixes patches."""
        places = _product(self.kernel_size) if self.kind == "transposed" else 1
        return self.out_channels * places

    def matrix(self, weight: Tensor) -> Tensor:
        """Its weight, or an update of it, as [rows, patch_size]; rows group by group."""
        if self.kind != "transposed":
            return weight.flatten(1)
        return weight.flatten(1).unflatten(0, (self.groups, -1)).mT.flatten(0, 1)

    def patches(self, x: Tensor) -> Tensor:
        """Input [B, C, ...] of the layer to its patches [B, positions, groups * patch_size].

        Of a linear layer, tokens [B, ..., C]; what was cut into windows may stand there window by
        window.
        """
        if self.kind == "linear":
            return x.reshape(-1, self.positions, x.shape[-1])
        if self.kind == "transposed":
            return x.flatten(2).transpose(1, 2)
        return _unfolded(x, self.kernel_size, self.stride, self.padding, self.dilation)

    def folded(self, patches: Tensor, size: Sequence[int]) -> Tensor:
        """The adjoint of `patches`: [B, positions, ...] to inputs [B, C, *size], summed up."""
        if self.kind == "linear":
            raise TypeError(f"Tokens of {self.name} are no map: they cannot be folded into one.")
        if self.kind == "transposed":
            return patches.transpose(1, 2).unflatten(2, tuple(size))
        if len(size) == 2:
            return functional.fold(
                patches.transpose(1, 2), tuple(size), self.kernel_size, self.dilation, self.padding
            )
        channels = self.groups * self.patch_size // _product(self.kernel_size)
        with torch.enable_grad():
            x = patches.new_zeros(len(patches), channels, *size, requires_grad=True)
            return torch.autograd.grad(self.patches(x), x, patches)[0]


def _unfolded(
    x: Tensor,
    kernel_size: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Tensor:
    """[B, C, ...] to the patches [B, positions, C * kernel] that a convolution takes."""
    if x.ndim == 4:
        columns = functional.unfold(x, kernel_size, dilation, padding, stride)
        return columns.transpose(1, 2)
    x = functional.pad(x, [p for q in reversed(padding) for p in (q, q)])
    for d, (size, step, apart) in enumerate(zip(kernel_size, stride, dilation, strict=True), 2):
        x = x.unfold(d, apart * (size - 1) + 1, step)[..., ::apart]
    n = len(kernel_size)  # [B, C, positions..., kernel...]
    x = x.movedim(1, 1 + n)
    return x.flatten(1, n).flatten(2)


@dataclass(frozen=True, slots=True)
class Survey:
    """What a forward pass ran.

    Attributes:
        convs: Convolutions (zero padding) that ran once, in order; transposed ones and linear
            layers on tokens among them.
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
            lambda m, args, out, n=name: _seen(calls, signals, len(x), n, m, args, out)
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
    for when, (name, module, taken, out) in enumerate(calls):
        if name not in once:
            continue
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            norms.append(name)
            order[name] = when
        elif (kind := _kind(module, taken)) is not None:
            normed = kind == "conv" and any(_is_norm(m) and took is out for _, m, took, _ in calls)
            found = _describe(name, kind, module, taken, out, len(x))
            centred = _centred(signals.get(name), "batch" if normed else "none")
            convs.append(replace(found, centred=centred, norms_before=tuple(norms)))
            order[name] = when
    takers = [(name, module) for name, module, taken, _ in calls if taken is x]
    plain = {c.name for c in convs if c.groups == 1 and c.kind == "conv"}
    alone = len(takers) == 1 and takers[0][0] in plain
    return Survey(tuple(convs), tuple(norms), order, takers[0][0] if alone else None)


def _seen(
    calls: list[tuple[str, nn.Module, Tensor, Tensor]],
    signals: dict[str, Tensor],
    images: int,
    name: str,
    module: nn.Module,
    args: tuple[Tensor, ...],
    out: Tensor,
) -> None:
    if not args or not isinstance(args[0], Tensor) or not isinstance(out, Tensor):
        return
    calls.append((name, module, args[0], out))
    if isinstance(module, (*_CONVS, *_TRANSPOSED, nn.Linear)) and out.requires_grad:

        def keep(signal: Tensor) -> None:
            signals[name] = _mixing(module, signal.detach(), images).double()

        out.register_hook(keep)


def _mixing(module: nn.Module, signal: Tensor, images: int) -> Tensor:
    """What mixes the patches of ``module``, from the signal at its output: [B, rows, positions]."""
    if isinstance(module, nn.Linear):
        return signal.reshape(images, -1, signal.shape[-1]).transpose(1, 2)
    if not isinstance(module, _TRANSPOSED):
        return signal.flatten(2)
    where = module.kernel_size, module.stride, module.padding, module.dilation
    return _unfolded(signal, *cast(tuple[tuple[int, ...], ...], where)).transpose(1, 2)


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


def _kind(module: nn.Module, x: Tensor) -> Kind | None:
    """What of a layer that takes ``x`` this is; None for none that is listed."""
    if isinstance(module, nn.Linear):
        return "linear" if x.ndim > 2 else None  # of one vector an image: it has no places
    if isinstance(module, _TRANSPOSED):
        return "transposed"
    if not isinstance(module, _CONVS) or module.padding_mode != "zeros":
        return None
    return None if isinstance(module.padding, str) else "conv"


def _describe(
    name: str, kind: Kind, module: nn.Module, x: Tensor, out: Tensor, images: int
) -> ConvLayer:
    """Of the pass alone; what is around the layer is filled in by `survey`."""
    if kind == "linear":
        linear = cast(nn.Linear, module)
        return ConvLayer(
            name=name,
            kernel_size=(1,),
            stride=(1,),
            padding=(0,),
            dilation=(1,),
            patch_size=linear.in_features,
            out_channels=linear.out_features,
            positions=x.numel() // linear.in_features // images,
            norms_before=(),
            centred="none",
            kind=kind,
        )
    conv = cast(nn.Conv2d, module)
    map_ = x if kind == "transposed" else out
    return ConvLayer(
        name=name,
        kernel_size=conv.kernel_size,
        stride=conv.stride,
        padding=cast(tuple[int, ...], conv.padding),
        dilation=conv.dilation,
        patch_size=conv.in_channels // conv.groups
        if kind == "transposed"
        else conv.weight[0].numel(),
        out_channels=conv.out_channels,
        positions=_product(map_.shape[2:]),
        norms_before=(),
        centred="none",
        groups=conv.groups,
        kind=kind,
    )


def _product(sizes: Sequence[int]) -> int:
    found = 1
    for size in sizes:
        found *= size
    return found
