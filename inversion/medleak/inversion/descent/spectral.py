"""Images as a start plus weighted cosines: coordinates in which a quasi-Newton search is fast."""

import math

import torch
from torch import Tensor

# Luminance, red-blue and green-purple, with the gains that their shares in photographs suggest:
# an unknown of unit size then moves the image about as much as images differ there.
_COLOURS = ((1.0, 1.0, 1.0), (1.0, 0.0, -1.0), (1.0, -2.0, 1.0))
_COLOUR_GAINS = (1.0, 0.3, 0.15)


class Spectral:
    """image = start + colour mix of inverse DCT(gain * u), gain 1 / (1 + frequency).

    A change of variables, nothing more: every image has its ``u``. But the first steps of L-BFGS
    go along the large, smooth shapes that gradients determine well, instead of along grain.
    """

    def __init__(self, start: Tensor) -> None:
        """``start`` [N, C, H, W], kept in its dtype and on its device."""
        channels, height, width = start.shape[1:]
        self._start = start.detach()
        self._rows = _cosines(height).to(start)
        self._columns = _cosines(width).to(start)
        k, m = (torch.arange(s).to(start) for s in (height, width))
        self._gain = 1 / (1 + (k[:, None].square() + m.square()).sqrt())
        mix = torch.eye(channels)
        if channels == 3:
            colours = torch.tensor(_COLOURS)
            gains = torch.tensor(_COLOUR_GAINS)[:, None]
            mix = gains * colours / colours.norm(dim=1, keepdim=True)
        self._mix = mix.to(start)

    def zeros(self) -> Tensor:
        """The ``u`` [N, C, H, W] of the start itself."""
        return torch.zeros_like(self._start)

    def images(self, u: Tensor) -> Tensor:
        """[N, C, H, W], differentiable; not clamped."""
        change = self._rows.T @ (self._gain * u) @ self._columns
        return self._start + torch.einsum("nchw,cd->ndhw", change, self._mix)


def _cosines(size: int) -> Tensor:
    """Orthonormal DCT-II [size, size], one frequency a row."""
    k = torch.arange(size, dtype=torch.float64)
    basis = torch.cos(math.pi * (k[None] + 0.5) * k[:, None] / size) * math.sqrt(2 / size)
    basis[0] /= math.sqrt(2)
    return basis
