"""Coordinates for images in which an optimiser finds large shapes first: pyramid and cosines."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.fft import dct
from torch import Tensor
from torch.nn import functional

# Luminance, red-blue and green-purple, with the gains that their shares in photographs suggest:
# an unknown of unit size then moves the image about as much as images differ there.
_COLOURS = ((1.0, 1.0, 1.0), (1.0, 0.0, -1.0), (1.0, -2.0, 1.0))
_COLOUR_GAINS = (1.0, 0.3, 0.15)


class Pyramid:
    """start + sum of gain * upsampled(layer); the layers start at zero and are the unknowns.

    Attributes:
        layers: Leaf tensors [B, C, *sides], coarse to fine, that require grad.
    """

    layers: list[Tensor]

    def __init__(
        self, start: Tensor, levels: int, finest: float = 1.0, decay: float = 0.75
    ) -> None:
        """Copy ``start`` [B, C, *size]; make ``levels`` layers, each half the side of the next.

        The last layer has ``finest`` (in (0, 1]) times the side of the image. ``decay`` is the
        gain from one layer to the next finer: natural images have less of fine detail.

        Raises:
            ValueError: No level, or ``finest`` out of range.
        """
        if levels < 1 or not 0 < finest <= 1:
            raise ValueError(
                f"levels must be positive and finest in (0, 1], got {levels} and {finest}: the "
                "pyramid would have no layer to optimise."
            )
        self._start, self._decay = start.detach().clone(), decay
        shares = [finest / 2 ** (levels - 1 - i) for i in range(levels)]
        self.layers = [
            torch.zeros(
                *start.shape[:2],
                *(max(1, round(share * side)) for side in start.shape[2:]),
                device=start.device,
                requires_grad=True,
            )
            for share in shares
        ]

    @property
    def point(self) -> Tensor:
        """All layers as one vector [n], a copy; set it to move them in place."""
        return torch.cat([layer.detach().flatten() for layer in self.layers])

    @point.setter
    def point(self, value: Tensor) -> None:
        parts = value.split([layer.numel() for layer in self.layers])
        with torch.no_grad():
            for layer, part in zip(self.layers, parts, strict=True):
                layer.copy_(part.view_as(layer))

    def images(self) -> Tensor:
        """[B, C, *size], differentiable; not clamped."""
        size = self._start.shape[2:]
        images = self._start
        for i, layer in enumerate(self.layers):
            images = images + self._decay**i * (
                layer if layer.shape[2:] == size else _up(layer, size)
            )
        return images


class Spectral:
    """image = start + colour mix of inverse DCT(gain * u), gain 1 / (1 + frequency).

    A change of variables, nothing more: every image has its ``u``. But the first steps of L-BFGS
    go along the large, smooth shapes that gradients determine well, instead of along grain.
    """

    def __init__(self, start: Tensor) -> None:
        """``start`` [N, C, *size], kept in its dtype and on its device."""
        channels, *size = start.shape[1:]
        self._start = start.detach()
        self._cosines = [_cosines(side).to(start) for side in size]
        squares = [torch.arange(side).to(start).square() for side in size]
        total = torch.zeros(size).to(start)
        for axis, frequency in enumerate(squares):
            total = total + frequency.view(-1, *(1,) * (len(size) - 1 - axis))
        self._gain = 1 / (1 + total.sqrt())
        mix = torch.eye(channels)
        if channels == 3:
            colours = torch.tensor(_COLOURS)
            gains = torch.tensor(_COLOUR_GAINS)[:, None]
            mix = gains * colours / colours.norm(dim=1, keepdim=True)
        self._mix = mix.to(start)

    def zeros(self) -> Tensor:
        """The ``u`` [N, C, *size] of the start itself."""
        return torch.zeros_like(self._start)

    def images(self, u: Tensor) -> Tensor:
        """[N, C, *size], differentiable; not clamped."""
        change = self._gain * u
        for axis, cosines in enumerate(self._cosines, start=2):
            change = (change.movedim(axis, -1) @ cosines).movedim(-1, axis)
        return self._start + torch.einsum("nc...,cd->nd...", change, self._mix)


def _up(layer: Tensor, size: Sequence[int]) -> Tensor:
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(size)]
    return functional.interpolate(layer, size=tuple(size), mode=mode, align_corners=False)


def _cosines(size: int) -> Tensor:
    """Orthonormal DCT-II [size, size], one frequency a row."""
    return torch.from_numpy(dct(np.eye(size), norm="ortho", axis=0))
