"""From the updates of a patch embedding to the pixels of its one image or volume."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medleak.inversion.evidence.tokens.embedding import PatchEmbedding
from medleak.inversion.evidence.tokens.solve import Patches, solve_patches

_STEP = 0.2  # between neighbours, as long as nothing is known of edges


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Units:
    """What a network's input is made of: ``x = (pixel - mean) / std``, one value a channel.

    Attributes:
        image_channels: Of an image; 1 is repeated for each channel of the network.
        mean: One value a network channel.
        std: Likewise, positive.
    """

    image_channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Solved:
    """An image in closed form.

    Attributes:
        image: [1, C, *size], not clamped.
        patches: What it was put together from, in pixels.
        unseen: Share of the pixels that no patch covers; these are the guess.
    """

    image: Tensor
    patches: Patches
    unseen: float


def solve_image(
    embedding: PatchEmbedding,
    position: tuple[Tensor, Tensor],
    weight: tuple[Tensor, Tensor],
    guess: Tensor,
    units: Units,
) -> Solved:
    """The image whose patches explain both updates.

    Args:
        embedding: Where the image entered the network.
        position: Update of the position embedding, at any scale, and the variance of each entry.
        weight: The projection's, at the same scale.
        guess: [1, C, *size] in [0, 1]: what is not told stays so.
        units: Of pixels.
    """
    pixels, values = embedding.projection.pixels, guess[0].numel()
    count = values // units.image_channels
    channel = pixels.clamp_min(0).amax(0) // count  # of each place in a patch
    source = torch.where(pixels < 0, -1, pixels % values)
    signal, error = embedding.signal(position[0]).double(), embedding.signal(position[1])
    mean, std = (torch.tensor(v).to(signal)[channel] for v in (units.mean, units.std))
    groups, source = _alike(source)
    zero = mean.new_zeros(source.shape[1])
    level = zero.index_add(0, groups, mean) / zero.index_add(0, groups, torch.ones_like(mean))
    # Of sum d x^T, x = (pixel - mean) / std, what sum d (pixel - level)^T is.
    gradient = weight[0].flatten(1).double() * std
    gradient = gradient + signal.sum(0)[:, None] * (mean - level[groups])
    variance = weight[1].flatten(1).double() * std.square()
    gradient, variance = _joined(gradient, variance, groups, len(level))
    flat = guess.flatten().double()
    start = torch.where(source < 0, level, flat[source.clamp_min(0)])
    known = source >= 0
    found = solve_patches(
        signal,
        gradient,
        start,
        origin=level,
        signal_variance=error,
        gradient_variance=variance,
        neighbours=_Grid.of(source, guess.shape[1:], _STEP),
    )
    total = torch.zeros_like(flat).index_add(0, source[known], found.values[known])
    times = torch.zeros_like(flat).index_add(0, source[known], torch.ones_like(found.values[known]))
    image = torch.where(times > 0, total / times.clamp_min(1), flat)
    unseen = float((times == 0).double().mean())
    return Solved(image=image.view(guess.shape).to(guess), patches=found, unseen=unseen)


@dataclass(frozen=True, slots=True, eq=False)
class _Grid:
    """Neighbours on the grid of an image [C, *size], as far as patches cover it.

    Attributes:
        source: [n, V] places of the patches' values in the flattened image, -1 outside of it.
        shape: (C, *size).
        weights: Of each axis' differences, by `_sides`.
    """

    source: Tensor
    shape: tuple[int, ...]
    weights: tuple[Tensor, ...]

    @classmethod
    def of(cls, source: Tensor, shape: Sequence[int], step: float) -> "_Grid":
        """Differences of variance ``step``^2 everywhere."""
        grid = cls(source, tuple(shape), ())
        seen = grid._image(torch.ones_like(source, dtype=torch.float64))
        weights = tuple(
            seen.narrow(axis, 1, side - 1) * seen.narrow(axis, 0, side - 1) / step**2
            for axis, side in _sides(shape)
        )
        return cls(source, tuple(shape), weights)

    @property
    def weight(self) -> float:
        return sum(float(w.mean()) for w in self.weights) / len(self.weights)

    def pull(self, patches: Tensor) -> Tensor:
        image = self._image(patches)
        total = torch.zeros_like(image)
        for (axis, side), weights in zip(_sides(self.shape), self.weights, strict=True):
            step = image.diff(dim=axis) * weights
            total.narrow(axis, 1, side - 1).add_(step)
            total.narrow(axis, 0, side - 1).sub_(step)
        known = self.source >= 0
        found = total.view(-1)[self.source[known]]
        return torch.zeros_like(patches).masked_scatter(known, found)

    def adapted(self, patches: Tensor, step: float) -> "_Grid":
        image = self._image(patches)
        weights = tuple(
            (w > 0) / (step**2 + image.diff(dim=axis).square())
            for (axis, _), w in zip(_sides(self.shape), self.weights, strict=True)
        )
        return _Grid(self.source, self.shape, weights)

    def _image(self, patches: Tensor) -> Tensor:
        known = self.source >= 0
        flat = patches.new_zeros(torch.Size(self.shape).numel())
        return flat.index_copy(0, self.source[known], patches[known]).view(self.shape)


def _sides(shape: Sequence[int]) -> list[tuple[int, int]]:
    """(axis, length) of the sides of [C, *size]."""
    return [(axis, side) for axis, side in enumerate(shape) if axis > 0]


def _alike(source: Tensor) -> tuple[Tensor, Tensor]:
    """Places of a patch [V] that hold the same pixel in every patch, numbered; and one of each.

    A gray image stands in a colour network's input three times.
    """
    generator = torch.Generator().manual_seed(0)
    key = torch.randint(2**31, (len(source),), generator=generator).to(source.device)
    _, groups = (source * key[:, None]).sum(0).unique(return_inverse=True)
    first = torch.zeros(int(groups.max()) + 1, dtype=torch.int64, device=source.device)
    first[groups] = torch.arange(source.shape[1], device=source.device)
    return groups, source[:, first]


def _joined(
    gradient: Tensor, variance: Tensor, groups: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """Columns of a group as their mean, each weighted by how well it is known."""
    if count == gradient.shape[1]:
        order = groups.argsort()
        return gradient[:, order], variance[:, order]
    known = 1 / (variance + variance.mean() * 1e-6 + 1e-60)
    shape = (len(gradient), count)
    total = gradient.new_zeros(shape).index_add(1, groups, known)
    joined = gradient.new_zeros(shape).index_add(1, groups, known * gradient) / total
    return joined, 1 / total
