"""Images as a start plus bilinear layers of rising size: the optimiser finds large shapes first."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


class Pyramid:
    """start + sum of gain * upsampled(layer); the layers start at zero and are the unknowns.

    Attributes:
        layers: Leaf tensors [B, C, h, w], coarse to fine, that require grad.
    """

    layers: list[Tensor]

    def __init__(
        self, start: Tensor, levels: int, finest: float = 1.0, decay: float = 0.75
    ) -> None:
        """Copy ``start`` [B, C, H, W]; make ``levels`` layers, each half the side of the next.

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
        height, width = start.shape[-2:]
        self.layers = [
            torch.zeros(
                *start.shape[:2],
                max(1, round(share * height)),
                max(1, round(share * width)),
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
        """[B, C, H, W], differentiable; not clamped."""
        size = self._start.shape[-2:]
        images = self._start
        for i, layer in enumerate(self.layers):
            images = images + self._decay**i * (
                layer if layer.shape[-2:] == size else _up(layer, size)
            )
        return images


def _up(layer: Tensor, size: Sequence[int]) -> Tensor:
    return functional.interpolate(layer, size=tuple(size), mode="bilinear", align_corners=False)
