"""Layers whose weight update is a sum over few input patches, and those patches of candidates."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from medleak.inversion.losses import first_output
from medleak.inversion.membership.networks import at_inputs

MOST_LAYERS = 4
_LEAST_ROOM = 20.0  # times less than the best one's


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchLayer:
    """A convolution or linear layer as a forward pass met it.

    Attributes:
        name: As in ``named_modules()``.
        out_features: Rows of its flattened weight, C_out.
        patch_size: Columns of it, D: values in one input patch or token.
        positions: Patches an image that a signal comes back to, L.
        live: Which these are, where they are not all: behind the last attention of a transformer
            the class token alone.
    """

    name: str
    out_features: int
    patch_size: int
    positions: int
    live: tuple[int, ...] | None = None

    @property
    def room(self) -> float:
        """Images whose patches the row space of one update could tell apart, C_out / L."""
        return self.out_features / self.positions


def patch_layers(network: nn.Module, example: Tensor) -> tuple[PatchLayer, ...]:
    """The layers of ``network`` that ran once on ``example`` [1, ...] (model units), in order.

    Convolutions of two and three dimensions without groups, and linear layers over tokens. A layer
    that has one position an image says nothing here: patches are compared within their image. But
    of several tokens, one alone may be trained on, and then it is what is compared.
    """
    seen: dict[str, list[PatchLayer]] = {}
    signals: dict[str, Tensor] = {}

    def see(name: str, module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        weight = module.weight
        assert isinstance(weight, Tensor)  # noqa: S101  of the two kinds that are hooked
        positions = patches_of(module, args[0]).shape[1]
        found = PatchLayer(
            name=name,
            out_features=len(weight),
            patch_size=weight[0].numel(),
            positions=positions,
        )
        seen.setdefault(name, []).append(found)
        if isinstance(module, nn.Linear) and positions > 1 and output.requires_grad:
            output.register_hook(lambda grad: signals.update({name: grad}))

    hooks = [
        module.register_forward_hook(lambda m, args, out, n=name: see(n, m, args, out))
        for name, module in network.named_modules()
        if has_patches(module)
    ]
    try:
        with torch.enable_grad():
            x = example.detach().requires_grad_(True)
            out = first_output(network(x)).square().sum()
            torch.autograd.grad(out, x, allow_unused=True)  # for its hooks; nothing keeps it
    finally:
        for hook in hooks:
            hook.remove()
    once = (runs[0] for runs in seen.values() if len(runs) == 1 and runs[0].positions > 1)
    return tuple(_alive(layer, signals.get(layer.name)) for layer in once)


def _alive(layer: PatchLayer, signal: Tensor | None) -> PatchLayer:
    """``layer`` with the tokens to which ``signal`` [1, ..., C] came back."""
    if signal is None:
        return layer
    reached = signal.reshape(-1, signal.shape[-1]).any(1)
    if reached.all() or not reached.any():
        return layer
    live = tuple(int(k) for k in reached.nonzero()[:, 0])
    return replace(layer, positions=len(live), live=live)


def telling_layers(
    layers: Sequence[PatchLayer], at_most: int = MOST_LAYERS
) -> tuple[PatchLayer, ...]:
    """Those whose row space tells most: much room for images, and more columns than rows.

    With as many rows as columns the row space is everything. Of equals the later ones, whose
    inputs have fewer positions still to share. Beside a layer of which one token is trained, with
    room for all images, those with little would only blur it.
    """
    usable = [layer for layer in layers if layer.patch_size > layer.out_features]
    if any(layer.live is not None for layer in usable):
        least = max(layer.room for layer in usable) / _LEAST_ROOM
        usable = [layer for layer in usable if layer.room >= least]
    ranked = sorted(enumerate(usable), key=lambda pair: (-pair[1].room, -pair[0]))
    return tuple(layer for _, layer in sorted(ranked[:at_most], key=lambda pair: pair[0]))


def patches(network: nn.Module, x: Tensor, layers: Sequence[PatchLayer]) -> dict[str, Tensor]:
    """Input patches [N, L, D] of each of ``layers`` for ``x`` [N, ...] (model units).

    Each minus the mean over its own image's positions: differences within an image lie in the row
    space of the update whatever the batch-mates, with a batch norm behind the layer or without.
    The only one of an image stays as it is.
    """
    live = {layer.name: layer.live for layer in layers}

    def of(name: str, module: nn.Module, taken: Tensor) -> Tensor:
        each = patches_of(module, taken)
        if (chosen := live[name]) is not None:
            each = each[:, list(chosen)]
        return each - each.mean(1, keepdim=True) if each.shape[1] > 1 else each

    return at_inputs(network, x, live, of)


def patches_of(module: nn.Module, x: Tensor) -> Tensor:
    """Input [B, ...] of a layer to the patches [B, L, D] that its flattened weight multiplies."""
    if isinstance(module, nn.Conv2d):
        size, padding = module.kernel_size, _padding(module)
        columns = functional.unfold(
            functional.pad(x, padding), size, module.dilation, 0, module.stride
        )
        return columns.transpose(1, 2)
    if isinstance(module, nn.Conv3d):
        return _volume_patches(module, x)
    return x.reshape(len(x), -1, x.shape[-1])


def has_patches(module: nn.Module) -> bool:
    """Whether `patches_of` knows the layer: a convolution without groups, or a linear one."""
    if isinstance(module, nn.Conv2d | nn.Conv3d):
        return module.groups == 1 and module.padding_mode == "zeros"
    return isinstance(module, nn.Linear)


def _padding(module: nn.Conv2d | nn.Conv3d) -> list[int]:
    """As `functional.pad` wants it: last axis first, both ends."""
    if isinstance(module.padding, str):
        if module.padding == "valid":
            return [0, 0] * len(module.kernel_size)
        spans = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
        return [end for span in reversed(spans) for end in (span // 2, span - span // 2)]
    return [end for p in reversed(module.padding) for end in (p, p)]


def _volume_patches(module: nn.Conv3d, x: Tensor) -> Tensor:
    x = functional.pad(x, _padding(module))
    for axis, (size, dilation, stride) in enumerate(
        zip(module.kernel_size, module.dilation, module.stride, strict=True), start=2
    ):
        x = x.unfold(axis, dilation * (size - 1) + 1, stride)
    d, h, w = module.dilation
    x = x[..., ::d, ::h, ::w]  # [B, C, D', H', W', kd, kh, kw]
    return x.permute(0, 2, 3, 4, 1, 5, 6, 7).flatten(4).flatten(1, 3)
