"""Images from which attacks start: (shape, prior, generator) -> [N, C, *size].

A start decides more than where the search begins: directions that the gradient hardly sees, the
fine grain above all, keep what the start put there.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor

Shape = tuple[int, ...]
"""[N, C, *size], of images or of volumes."""
Start = Callable[[Shape, Tensor | None, torch.Generator], Tensor]

_JITTER = 0.02  # keeps the images of a batch apart, and restarts from repeating each other


def normal(shape: Shape, prior: Tensor | None, generator: torch.Generator) -> Tensor:
    """Standard normal pixels, mostly outside of [0, 1].

    Source: Zhu et al. 2019, DLG, arXiv:1906.08935v2, algorithm 1.
    """
    return torch.randn(shape, generator=generator, device=generator.device)


def uniform(shape: Shape, prior: Tensor | None, generator: torch.Generator) -> Tensor:
    """Pixels uniform in [0, 1]."""
    return torch.rand(shape, generator=generator, device=generator.device)


def constant(shape: Shape, prior: Tensor | None, generator: torch.Generator) -> Tensor:
    """Mid-gray with a trace of smooth noise: a single-colour start without grain of its own.

    Source: Wei et al. 2020, CPL, arXiv:2004.10397v2, section 3.3 ("dark/light/colour" seeds).
    """
    return 0.5 + _JITTER * smooth_noise(shape, generator)


def smooth(shape: Shape, prior: Tensor | None, generator: torch.Generator) -> Tensor:
    """Mid-gray with noise of a natural image's spectrum, standard deviation 0.15."""
    return (0.5 + 0.15 * smooth_noise(shape, generator)).clamp(0, 1)


def tiled(shape: Shape, prior: Tensor | None, generator: torch.Generator) -> Tensor:
    """A uniform random patch of a quarter of the side, repeated 4 x 4 times.

    Source: Wei et al. 2020, CPL, arXiv:2004.10397v2, section 3.3 ("patterned" seeds of 1/16).
    """
    size = shape[2:]
    patch = (*shape[:2], *(-(-side // 4) for side in size))
    tiles = uniform(patch, None, generator).repeat(1, 1, *(4,) * len(size))
    return tiles[(..., *(slice(side) for side in size))]


def from_prior(shape: Shape, prior: Tensor | None, generator: torch.Generator) -> Tensor:
    """The prior image for every image, with a trace of smooth noise; mid-gray without a prior.

    Source: TMI 2023 (arXiv:2202.06924v2), section II-B.
    """
    image = flat(shape, prior).to(generator.device)
    return (image + _JITTER * smooth_noise(shape, generator)).clamp(0, 1)


def flat(shape: Shape, prior: Tensor | None) -> Tensor:
    """The prior for every image, [N, C, *size], or mid-gray: what everybody has.

    Raises:
        ValueError: ``prior`` has another size, or other channels, than the images.
    """
    if prior is None:
        return torch.full(shape, 0.5)
    if prior.shape[2:] != shape[2:] or prior.shape[1] not in (1, shape[1]):
        raise ValueError(
            f"The prior is {tuple(prior.shape)}, the images are {shape}: it cannot be their start. "
            "Give [1, C, *size] of the same size, gray or with the same channels."
        )
    return prior.expand(shape).clone()


def fundus(shape: Shape, prior: Tensor | None, generator: torch.Generator) -> Tensor:
    """A bright disc on black, reddish in colour: the mean fundus photograph, a wrong prior for
    anything else.

    Source: TMI 2023 (arXiv:2202.06924v2), Fig. 3e.
    """
    channels, *size = shape[1:]
    sides = [torch.linspace(-1, 1, side, device=generator.device) for side in size]
    radius = sum(axis.square() for axis in torch.meshgrid(*sides, indexing="ij"))
    disc = torch.sigmoid(20 * (0.9 - torch.as_tensor(radius).sqrt()))
    tones = torch.tensor([0.6, 0.35, 0.2] if channels == 3 else [0.4], device=generator.device)
    image = tones.view(-1, *(1,) * len(size)) * disc
    return (image + _JITTER * smooth_noise(shape, generator)).clamp(0, 1)


def smooth_noise(shape: Shape, generator: torch.Generator) -> Tensor:
    """Noise [N, C, *size] with an amplitude of 1 / frequency; mean 0, standard deviation 1."""
    white = torch.randn(shape, generator=generator, device=generator.device)
    axes = [torch.fft.fftfreq(side, device=white.device) for side in shape[2:]]
    squares = [axis.square() for axis in torch.meshgrid(*axes, indexing="ij")]
    frequency = torch.stack(squares).sum(0).sqrt()
    frequency.view(-1)[0] = torch.inf  # no mean
    over = tuple(range(2, white.dim()))
    noise = torch.fft.ifftn(torch.fft.fftn(white, dim=over) / frequency, dim=over).real
    return noise / noise.std().clamp_min(1e-12)


StartName = Literal["normal", "uniform", "constant", "smooth", "tiled", "prior", "fundus"]
STARTS: Mapping[StartName, Start] = {
    "normal": normal,
    "uniform": uniform,
    "constant": constant,
    "smooth": smooth,
    "tiled": tiled,
    "prior": from_prior,
    "fundus": fundus,
}
"""Starts by the names that settings and results use."""


def require_starts(*names: str) -> None:
    """Refuse names that are no start.

    Raises:
        ValueError: With the names that are.
    """
    if unknown := [n for n in names if n not in STARTS]:
        raise ValueError(f"start must be one of {', '.join(STARTS)}, got {unknown[0]!r}.")
