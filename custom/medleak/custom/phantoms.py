"""Made-up chest X-rays: the embedded default data, drawn from a seed, of nobody.

Anatomy, disease and the burned-in name belong to the patient; pose, exposure and grain to the
single image, so that two visits of one patient look alike but not the same.
"""

import hashlib
import io
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from medleak.custom.atomic import write_atomic
from medleak.custom.datalist import Item
from medleak.custom.phantom_anatomy import Anatomy, Map, attenuation, draw_anatomy, smooth_noise

CLASS_NAMES = ("normal", "pneumonia")
# Part of the folder name that `render` writes to: raise it whenever a pixel changes.
VERSION = 1


def listing(n: int, seed: int = 0) -> list[Item]:
    """``n`` items without pixels, as even over the classes as ``n`` allows.

    An item's image is ``<class>/p<patient>_<visit>.png``. A patient has one class and one image
    (70 %), two (20 %) or three. Equal arguments give equal listings.

    Raises:
        ValueError: ``n`` is negative.
    """
    if n < 0:
        raise ValueError(f"The number of phantoms must be 0 or more, got {n}.")
    rng = _generator(seed, "listing")
    missing = [(n + 1) // 2, n // 2]
    items = []
    patient = 0
    while any(missing):
        label = patient % 2 if all(missing) else missing.index(max(missing))
        for visit in range(min(missing[label], rng.choice([1, 2, 3], p=[0.7, 0.2, 0.1]))):
            name = f"p{patient:05d}"
            items.append(Item(f"{CLASS_NAMES[label]}/{name}_{visit:02d}.png", label, name))
            missing[label] -= 1
        patient += 1
    return items


def render(
    items: Sequence[Item], root: str | Path, spatial_size: int | tuple[int, int], seed: int = 0
) -> Path:
    """Write the images of ``items`` that are not there yet, and return their data root.

    The data root is a folder under ``root`` named after the generator's version, seed and size, so
    that an image of other settings is never taken for one of these. PNG without any metadata; each
    file appears whole or not at all, so that several processes may render at the same time.

    Args:
        items: As `listing` makes them.
        root: Any folder; made if missing.
        spatial_size: (H, W) or one number for both, at least 16 px.
        seed: The one of the listing.

    Raises:
        ValueError: An item is no phantom, or the size is below 16.
        OSError: The folder cannot be written.
    """
    height, width = _size(spatial_size)
    data_root = Path(root) / f"phantoms-v{VERSION}-seed{seed}-{height}x{width}"
    for item in items:
        path = data_root / item.image
        if not path.exists():
            png = io.BytesIO()
            Image.fromarray(chest_xray(item.image, (height, width), seed)).save(png, format="PNG")
            write_atomic(path, png.getvalue())
    return data_root


def chest_xray(name: str, spatial_size: int | tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    """The phantom called ``name``: uint8 [H, W], white is dense, the patient's right on the left.

    Equal arguments give equal pixels. An opacity is what tells the classes apart: exposure, build,
    breasts and pose vary more than it changes the mean.

    Args:
        name: ``<class>/p<patient>_<visit>.png``, an item's image of `listing`.
        spatial_size: (H, W) or one number for both, at least 16 px.
        seed: Another seed is another population.

    Raises:
        ValueError: ``name`` is no phantom's, or the size is below 16.
    """
    size = _size(spatial_size)
    path = PurePosixPath(name)
    patient, underscore, _ = path.stem.partition("_")
    if len(path.parts) != 2 or path.parts[0] not in CLASS_NAMES or not underscore:
        raise ValueError(
            f"{name!r} is no phantom: its class and patient are unknown. Take names from "
            f"phantoms.listing: <class>/p<patient>_<visit>.png, class {' or '.join(CLASS_NAMES)}."
        )
    anatomy = draw_anatomy(_generator(seed, patient))
    rng = _generator(seed, name)
    scale = 2 if min(size) <= 128 else 1  # edges of small images need more than one ray a pixel
    x, y = _pose((size[0] * scale, size[1] * scale), rng)
    opacity = rng.uniform(0.22, 0.42)
    density = attenuation(anatomy, x, y, opacity if path.parts[0] == "pneumonia" else 0.0)
    film = _film(density.reshape(size[0], scale, size[1], scale).mean((1, 3)), rng)
    _burn_in(film, anatomy, rng)
    return np.rint(255 * film).astype(np.uint8)


def _generator(*key: int | str) -> np.random.Generator:
    """A generator that depends on ``key`` alone, on every machine."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16]))


def _size(spatial_size: int | tuple[int, int]) -> tuple[int, int]:
    """(H, W) of ``spatial_size``, checked."""
    size = (spatial_size, spatial_size) if isinstance(spatial_size, int) else spatial_size
    if min(size) < 16:
        raise ValueError(
            f"spatial_size must be at least 16, got {spatial_size}: fewer pixels show no chest. "
            "Use 64 or 224."
        )
    return size


def _pose(size: tuple[int, int], rng: np.random.Generator) -> tuple[Map, Map]:
    """Patient coordinates of every pixel: how this visit's patient stood before the film."""
    half = min(size) / 2
    u = (np.arange(size[1], dtype=np.float32) + 0.5 - size[1] / 2) / half
    v = (np.arange(size[0], dtype=np.float32)[:, None] + 0.5 - size[0] / 2) / half
    zoom, angle = rng.uniform(0.90, 1.12), rng.normal(0, 0.045)
    cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
    dx, dy = rng.normal(0, 0.04, 2)
    return (cos * u - sin * v - dx).astype(np.float32), (sin * u + cos * v - dy).astype(np.float32)


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
