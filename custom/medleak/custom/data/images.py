"""Writing pixels as PNG files that hold nothing else, and grays of any depth as 8 bits."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medleak.filters import storage


def save_image(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write ``pixels``, uint8 [H, W] or [H, W, 3], to the PNG ``path``; whole or not at all.

    For its owner only. No metadata: no text, time, colour profile, EXIF. Unlike
    `atomic.write_atomic` it does not wait for the disk, since a set has many images and any of them
    can be made again.

    Raises:
        OSError: It cannot be written.
    """
    with storage.replacing(path, wait=False) as part:
        Image.fromarray(np.ascontiguousarray(pixels)).save(part, format="PNG")


def windowed(values: NDArray[np.generic], low: float, high: float) -> NDArray[np.uint8]:
    """``values`` with ``low`` as black and ``high`` as white, linear between, clipped outside.

    Args:
        values: Real, any shape.
        low: Below ``high``.
        high: Finite.

    Raises:
        ValueError: The window is empty or not finite.
    """
    check_window(low, high)
    share = (np.asarray(values, np.float64) - low) / (high - low)
    return np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)


def check_window(low: float, high: float) -> None:
    """Refuse a window that has no inside.

    Raises:
        ValueError: It is empty or not finite.
    """
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ValueError(
            f"Window {low:g}:{high:g} is empty: every pixel would be black or white. Give black "
            "first, then a larger white, such as 0:4095."
        )
