"""Made-up chest X-rays: exposure, shutters and a burned-in name over `phantom_anatomy`'s patient.

Pneumonia is what tells the classes apart: exposure, build, breasts and pose change the mean more
than its opacities do.
"""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from medleak.custom.phantoms.anatomy import Anatomy, attenuation, draw_anatomy
from medleak.custom.phantoms.canvas import (
    Map,
    Phantom,
    averaged,
    draw_pose,
    smooth_noise,
    supersampled,
    to_uint8,
)

CLASSES = ("normal", "pneumonia")


def chest(
    kind: str, patient: np.random.Generator, visit: np.random.Generator, size: tuple[int, int]
) -> Phantom:
    """The chest of ``patient`` at a ``visit``: uint8 [H, W], white is dense; ``kind`` of CLASSES.

    The patient's right is on the left.
    """
    anatomy = draw_anatomy(patient)
    grid, scale = supersampled(size)
    x, y = draw_pose(visit, (0.90, 1.12), 0.045, 0.04).coordinates(grid)
    opacity = visit.uniform(0.22, 0.42)
    density = attenuation(anatomy, x, y, opacity if kind == "pneumonia" else 0.0)
    film = _film(averaged(density, scale), visit)
    _burn_in(film, anatomy, visit)
    return Phantom(to_uint8(film))


def _film(density: Map, rng: np.random.Generator) -> Map:
    """Film [H, W] in [0, 1] of ``density``: scatter, exposure, shutters, grain."""
    density = density + 0.07 * (smooth_noise(rng, 5, density.shape) - 0.5) * (density > 0.02)
    middle, contrast = rng.uniform(0.48, 0.76), rng.uniform(3.0, 7.0)
    curve = 1 / (1 + np.exp(-contrast * (density - middle)))
    low, high = 1 / (1 + np.exp(-contrast * (np.array([0.0, 1.25]) - middle)))
    film = rng.uniform(0.01, 0.08) + rng.uniform(0.80, 0.95) * (curve - low) / (high - low)
    for flipped in (film, film[::-1], film.T, film.T[::-1]):
        if rng.random() < 0.15:
            flipped[: int(rng.uniform(0.01, 0.07) * len(flipped))] = 0.0
    film += rng.normal(0, rng.uniform(0.004, 0.014), film.shape)
    return np.clip(film, 0, 1).astype(np.float32)


def _burn_in(film: Map, anatomy: Anatomy, rng: np.random.Generator) -> None:
    """Write name and date of birth into a left corner, and L beside the patient's left shoulder."""
    down = 0.97 if rng.random() < 0.3 else 0.02
    _stamp(film, (anatomy.name, anatomy.birth), 0.40, (down, 0.02))
    _stamp(film, ("L",), 0.09, (rng.uniform(0.04, 0.14), 0.94))


def _stamp(film: Map, lines: tuple[str, ...], share: float, at: tuple[float, float]) -> None:
    """Put ``lines`` on ``film``, ``share`` of its width, at (down, right) of the free room."""
    text = _text(lines)
    width = round(share * film.shape[1])
    height = max(4, round(width * text.height / text.width))
    ink = np.asarray(text.resize((width, height), Image.Resampling.BICUBIC), np.float32) / 255
    top = int(at[0] * (film.shape[0] - height))
    left = int(at[1] * (film.shape[1] - width))
    window = film[top : top + height, left : left + width]
    np.maximum(0.4 * window, np.clip(1.5 * ink, 0, 0.95), out=window)


@lru_cache(maxsize=4096)
def _text(lines: tuple[str, ...]) -> Image.Image:
    """White on black, in the bitmap font that Pillow carries: the same on every machine."""
    font = ImageFont.load_default_imagefont()
    image = Image.new("L", (6 * max(map(len, lines)) + 8, 11 * len(lines) + 1))
    for row, line in enumerate(lines):
        # The blank: Pillow cuts what the first letter has left of its origin.
        ImageDraw.Draw(image).text((-1, 1 + 11 * row), f" {line}", fill=255, font=font)
    return image
