"""Where a network cuts its input into patches and embeds them, told by what it computes.

No module and no parameter is known by name. Which pixels a projection reads is seen from a pass
over an image whose pixels are their own numbers; that a parameter is the position embedding of its
tokens, from what follows being the same when the tokens gain what the parameter loses.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

_FOLLOWING = 8  # modules after the projection in whose inputs a difference is looked for
_BEYOND = 16  # and how many more are run in search of another projection
_EXTRA = 16  # class tokens and registers, at most
_SAME = 1e-3  # of a difference that is there: what rounding leaves of one that is not
_EXACT = 2**24  # integers up to here are float32 numbers
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Projection:
    """A linear map of patches of the input to tokens.

    Attributes:
        layer: As in ``named_modules()``; its weight is [D, ...], V values a row.
        pixels: [n, V] int64, which value of the flattened network input [C, *size] each value of
            each of the n patches is; -1 for padding.
    """

    layer: str
    pixels: Tensor

    @property
    def weight(self) -> str:
        """Name of the weight."""
        return f"{self.layer}.weight"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PatchEmbedding:
    """A projection whose tokens have a position embedding added, and nothing done to them before.

    Attributes:
        projection: The projection.
        position: Name of the embedding.
        trained: Whether it is trained; a fixed one tells nothing.
    """

    projection: Projection
    position: str
    trained: bool
    _axis: int
    _rows: slice

    def signal(self, position: Tensor) -> Tensor:
        """The embedding, or its update, as [n, D]: one row a token."""
        flat = position.movedim(self._axis, -1).reshape(-1, position.shape[self._axis])
        return flat[self._rows]


def projections(network: nn.Module, shape: Sequence[int]) -> list[Projection]:
    """Layers that read the network's input as it is, cut into patches, in order of execution.

    Args:
        network: Run once, in the mode that it is in; without a graph.
        shape: [C, *size] of the network's input.

    Returns:
        Convolutions with equal kernel and stride, and linear layers on rearranged pixels. A layer
        that runs more than once is none.
    """
    count = torch.Size(shape).numel()
    if count >= _EXACT:
        network = network.double()
    like = next(network.parameters())
    numbers = torch.arange(1, count + 1, device=like.device, dtype=like.dtype).view(1, *shape)
    found: dict[str, Projection | None] = {}
    after = 0

    def see(name: str, module: nn.Module, args: tuple[Any, ...]) -> None:
        nonlocal after
        after += bool(found)
        pixels = _pixels(module, args, numbers) if after <= _BEYOND else None
        if pixels is not None:
            found[name] = None if name in found else Projection(layer=name, pixels=pixels)
        if after > _BEYOND:
            raise _SeenEnough

    with _hooked(network, see), torch.no_grad(), suppress(_SeenEnough):
        network(numbers)
    return [p for p in found.values() if p is not None]


def patch_embedding(
    network: nn.Module, shape: Sequence[int], projection: Projection
) -> PatchEmbedding | None:
    """The position embedding of the tokens of ``projection``; None where there is none.

    None too where anything, such as a norm, stands between the two: the embedding's gradient is not
    the tokens' there.

    Args:
        network: Run a few times up to a few layers after the projection; as it was afterwards. Its
            dropout must be off.
        shape: [C, *size] of the network's input.
        projection: Of `projections`.
    """
    tokens = len(projection.pixels)
    module = network.get_submodule(projection.layer)
    width = cast(Tensor, module.weight).shape[0]
    generator = torch.Generator().manual_seed(0)
    like = cast(Tensor, module.weight)
    image = torch.rand(1, *shape, generator=generator).to(like)
    shift = torch.randn(tokens, width, generator=generator).to(like)
    before = _following(network, image, projection.layer, None)
    moved = _following(network, image, projection.layer, shift)
    apart = [_distance(a, b) for a, b in zip(before, moved, strict=False)]
    if not any(apart):
        return None
    for name, parameter in network.named_parameters():
        for axis, rows in _places(parameter, tokens, width):
            found = PatchEmbedding(
                projection=projection,
                position=name,
                trained=parameter.requires_grad,
                _axis=axis,
                _rows=rows,
            )
            with _lowered(found.signal, parameter, shift):
                both = _following(network, image, projection.layer, shift)
            rest = [_distance(a, b) for a, b in zip(before, both, strict=False)]
            if _made_up_for(rest, apart):
                return found
    return None


def _made_up_for(rest: Sequence[float], apart: Sequence[float]) -> bool:
    """Whether, from some module on, nothing is left of a shift that is seen there by itself.

    Before that stand modules that do nothing, such as a norm that was left out.
    """
    left = [k for k, distance in enumerate(rest) if distance > _SAME * max(apart)]
    begin = left[-1] + 1 if left else 0
    return len(rest) == len(apart) and any(apart[begin:])


def _pixels(module: nn.Module, args: tuple[Any, ...], numbers: Tensor) -> Tensor | None:
    """Which pixel each value of each patch of a projection is; None where it is no projection."""
    x = args[0] if args and isinstance(args[0], Tensor) else None
    if x is None or len(x) != 1:
        return None
    if isinstance(module, _CONVOLUTIONS):
        if module.kernel_size != module.stride or max(module.kernel_size) < 2 or module.groups > 1:
            return None
        if isinstance(module.padding, str) or set(module.dilation) != {1}:
            return None
        cut = _cut(x, module.kernel_size, cast(tuple[int, ...], module.padding))
    elif isinstance(module, nn.Linear) and x.dim() in (2, 3):
        cut = x.reshape(-1, x.shape[-1])
    else:
        return None
    # Each pixel once at most, as it is: anything else was computed.
    seen = cut[cut != 0]
    inside = (seen >= 1) & (seen <= numbers.max())
    whole = torch.equal(seen, seen.round()) and bool(inside.all())
    if not whole or len(cut) < 2 or len(seen) < 2 or len(seen.unique()) != len(seen):
        return None
    return cut.long() - 1


def _cut(x: Tensor, kernel: tuple[int, ...], padding: tuple[int, ...]) -> Tensor:
    """[1, C, *size] to [n, C * kernel] patches, row by row, values as in a flattened weight."""
    x = functional.pad(x, [p for pair in reversed(padding) for p in (pair, pair)])
    for axis, size in enumerate(kernel):
        x = x.unfold(2 + axis, size, size)
    sizes = len(kernel)
    tokens = x.permute(0, *range(2, 2 + sizes), 1, *range(2 + sizes, 2 + 2 * sizes))
    return tokens.reshape(-1, x.shape[1] * torch.Size(kernel).numel())


def _places(parameter: nn.Parameter, tokens: int, width: int) -> Iterator[tuple[int, slice]]:
    """Where in ``parameter`` an embedding of that many tokens may stand: (axis of D, rows)."""
    for axis in (-1, *range(parameter.dim() - 1)):
        if parameter.dim() < 2 or parameter.shape[axis] != width:
            continue
        rows = parameter.numel() // width
        # Class tokens and registers stand before the patches, seldom behind.
        for first in dict.fromkeys((rows - tokens, 0)):
            if 0 <= first <= rows - tokens and first <= _EXTRA:
                yield axis, slice(first, first + tokens)


@contextmanager
def _lowered(
    signal: Callable[[Tensor], Tensor], parameter: nn.Parameter, shift: Tensor
) -> Iterator[None]:
    values = parameter.data.clone()
    lowered = values.clone()
    # In the layout of the parameter: through the very view that reads it.
    index = signal(torch.arange(values.numel(), device=values.device).view(values.shape))
    lowered.view(-1)[index.flatten()] -= shift.flatten()
    parameter.data.copy_(lowered)
    try:
        yield
    finally:
        parameter.data.copy_(values)


def _following(network: nn.Module, image: Tensor, layer: str, shift: Tensor | None) -> list[Tensor]:
    """Inputs of the few modules that run after ``layer``, whose tokens gain ``shift`` [n, D]."""
    inputs: list[Tensor] = []
    ran = False

    def see(name: str, _: nn.Module, args: tuple[Any, ...]) -> None:
        nonlocal ran
        if ran and args and isinstance(args[0], Tensor):
            inputs.append(args[0])
        ran |= name == layer
        if len(inputs) >= _FOLLOWING:
            raise _SeenEnough

    def gain(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        if shift is None:
            return output
        convolved = output.dim() > 3 or isinstance(network.get_submodule(layer), nn.Conv1d)
        return output + (shift.T if convolved else shift).reshape(output.shape)

    handle = network.get_submodule(layer).register_forward_hook(gain)
    try:
        with _hooked(network, see), torch.no_grad(), suppress(_SeenEnough):
            network(image)
    finally:
        handle.remove()
    return inputs


def _distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm()) if a.shape == b.shape else float("inf")


@contextmanager
def _hooked(
    network: nn.Module, see: Callable[[str, nn.Module, tuple[Any, ...]], None]
) -> Iterator[None]:
    """Call ``see`` before each leaf runs."""
    handles = [
        module.register_forward_pre_hook(partial(see, name))
        for name, module in network.named_modules()
        if not any(module.children())
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _SeenEnough(Exception):
    """Ends a forward pass."""
