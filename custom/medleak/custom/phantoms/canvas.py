"""What the phantoms of all modalities are drawn with: generators, poses, noise, lines.

Patient coordinates are in half image sides: x to the right of the image, y down, the origin in the
middle of what is shown.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

Map = NDArray[np.floating]


class Phantom(NamedTuple):
    """``image``: uint8 [H, W] or [H, W, 3]; ``mask``: uint8 [H, W] of 0 and 255, or None."""

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8] | None = None


def generator(*key: int | str) -> np.random.Generator:
    """A generator that depends on ``key`` alone, on every machine."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16]))


@dataclass(frozen=True, slots=True)
class Pose:
    """How the patient lies in the picture: scaled by ``zoom``, turned by ``angle``, then moved."""

    zoom: float
    angle: float
    dx: float
    dy: float

    def coordinates(self, size: tuple[int, int]) -> tuple[Map, Map]:
        """Patient coordinates (x, y) of the pixels of an image of ``size`` (H, W), each [H, W]."""
        u, v = pixel_coordinates(size)
        cos, sin = np.cos(self.angle) / self.zoom, np.sin(self.angle) / self.zoom
        return (
            (cos * u - sin * v - self.dx).astype(np.float32),
            (sin * u + cos * v - self.dy).astype(np.float32),
        )

    def pixels(self, points: ArrayLike, size: tuple[int, int]) -> Map:
        """Pixel positions [N, 2], column before row, of ``points`` in patient coordinates."""
        x, y = np.asarray(points, np.float64).T + np.array([[self.dx], [self.dy]])
        cos, sin = np.cos(self.angle) * self.zoom, np.sin(self.angle) * self.zoom
        half = min(size) / 2
        return np.stack([(cos * x + sin * y), (cos * y - sin * x)], 1) * half + (
            size[1] / 2,
            size[0] / 2,
        )


def draw_pose(
    rng: np.random.Generator, zoom: tuple[float, float], tilt: float, shift: float
) -> Pose:
    """A pose: zoom from a range; angle (radians) and shift with these standard deviations."""
    return Pose(rng.uniform(*zoom), rng.normal(0, tilt), *rng.normal(0, shift, 2))


def pixel_coordinates(size: tuple[int, int]) -> tuple[Map, Map]:
    """The camera's own coordinates: columns [1, W] and rows [H, 1], the shorter side -1 to 1."""
    half = min(size) / 2
    u = (np.arange(size[1], dtype=np.float32) + 0.5 - size[1] / 2) / half
    v = (np.arange(size[0], dtype=np.float32)[:, None] + 0.5 - size[0] / 2) / half
    return u[None], v


def supersampled(size: tuple[int, int]) -> tuple[tuple[int, int], int]:
    """Size of the grid to draw an image of ``size`` on, and how many times as fine it is."""
    scale = 2 if min(size) <= 128 else 1  # edges of small images need more than one ray a pixel
    return (size[0] * scale, size[1] * scale), scale


def averaged(fine: Map, scale: int) -> Map:
    """``fine`` [H * scale, W * scale, ...] as the mean of each ``scale`` x ``scale`` block."""
    height, width = fine.shape[0] // scale, fine.shape[1] // scale
    return fine.reshape(height, scale, width, scale, *fine.shape[2:]).mean((1, 3))


def to_uint8(image: Map) -> NDArray[np.uint8]:
    """``image`` in [0, 1], values outside clipped, as gray levels."""
    return np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)


def step(distance: ArrayLike, softness: float) -> Map:
    """0 outside to 1 inside along a signed distance; the edge is ``softness`` wide."""
    return np.clip(np.asarray(distance) / softness + 0.5, 0, 1, dtype=np.float32)


def smooth_noise(rng: np.random.Generator, cells: int, shape: tuple[int, ...]) -> Map:
    """Noise in about [0, 1] of ``cells`` cells along each side, of ``shape`` (H, W)."""
    coarse = Image.fromarray(rng.random((cells, cells), dtype=np.float32))
    return np.asarray(coarse.resize((shape[1], shape[0]), Image.Resampling.BICUBIC))


def tissue_noise(rng: np.random.Generator, cells: int, x: Map, y: Map) -> Map:
    """Smooth noise that lies still in the patient: ``cells`` over [-1.2, 1.2], at (x, y)."""
    n = 128 if x.size <= 128**2 else 256  # half a pixel of the image or less
    field = smooth_noise(rng, cells, (n, n))
    column = np.clip((n / 2.4) * (x + 1.2), 0, n - 1).astype(np.intp)
    row = np.clip((n / 2.4) * (y + 1.2), 0, n - 1).astype(np.intp)
    return field[row, column]


class Stroke(NamedTuple):
    """A line through ``points`` [N, 2] of the patient, ``widths`` [N - 1] of each piece."""

    points: Map
    widths: Map
    darkness: float = 1.0


def draw_strokes(strokes: Iterable[Stroke], pose: Pose, size: tuple[int, int]) -> Map:
    """Coverage in [0, 1] of the pixels of ``size`` (H, W) by ``strokes``, [H, W], smooth-edged."""
    fine = max(1, round(384 / min(size)))  # the thinnest vessel is a pixel wide
    canvas = Image.new("L", (size[1] * fine, size[0] * fine))
    draw = ImageDraw.Draw(canvas)
    unit = pose.zoom * fine * min(size) / 2
    for points, widths, darkness in strokes:
        at = (pose.pixels(points, size) * fine).tolist()
        for start, end, width in zip(at, at[1:], widths.tolist(), strict=False):
            draw.line((*start, *end), round(255 * darkness), max(1, round(width * unit)))
    return np.asarray(canvas.reduce(fine) if fine > 1 else canvas, np.float32) / 255


def walk(
    rng: np.random.Generator,
    start: ArrayLike,
    heading: float,
    bend: float,
    length: float,
    width: tuple[float, float],
    wiggle: float = 0.12,
) -> tuple[Stroke, Map]:
    """A winding line and its heading at each piece: the way of a vessel or a hair.

    Args:
        rng: Of the winding.
        start: [2], patient coordinates.
        heading: Radians at the start, 0 to the right, positive downwards.
        bend: Radians that it turns over its whole length.
        length: In half image sides.
        width: At the start and at the end.
        wiggle: Standard deviation of the heading's random walk a piece, radians.
    """
    n = max(3, round(length / 0.045))
    headings = heading + bend * np.linspace(0, 1, n) + np.cumsum(rng.normal(0, wiggle, n))
    pieces = (length / n) * np.stack([np.cos(headings), np.sin(headings)], 1)
    first = np.asarray(start, np.float64)[None]
    points = np.concatenate([first, first + np.cumsum(pieces, 0)])
    return Stroke(points, np.linspace(*width, n)), headings
