"""Colour spaces of image files to RGB of the same depth; embedded ICC profiles are not applied."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

REC_601 = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in brightness: ITU-R BT.601, the default of JPEG, TIFF, DICOM."""


def from_ycbcr(
    values: NDArray[Any], bits: int, shares: tuple[float, float, float] = REC_601
) -> NDArray[Any]:
    """Brightness and colour differences over their full range, [H, W, 3], to RGB.

    JFIF 1.02; DICOM PS3.3 C.7.6.3.1.2 (YBR_FULL); TIFF 6.0 section 21 with its default reference.

    Args:
        values: Unsigned, colour differences around ``2**(bits - 1)``.
        bits: Of a value.
        shares: Of red, green and blue in the brightness.
    """
    red, green, blue = shares
    y, cb, cr = (values[..., k].astype(np.float64) for k in range(3))
    cb, cr = cb - 2 ** (bits - 1), cr - 2 ** (bits - 1)
    r = y + 2 * (1 - red) * cr
    b = y + 2 * (1 - blue) * cb
    g = (y - red * r - blue * b) / green
    shown = np.clip(np.rint(np.stack([r, g, b], -1)), 0, 2**bits - 1)
    return shown.astype(values.dtype)


def from_cmyk(values: NDArray[Any], bits: int) -> NDArray[Any]:
    """Shares of cyan, magenta, yellow and black ink, [H, W, 4], 0 for none, to RGB.

    Without a profile, as Pillow does: each ink takes its share of the light.
    """
    white = 2**bits - 1
    inks = values.astype(np.float64)
    light = (white - inks[..., :3]) * (white - inks[..., 3:]) / white
    return np.rint(light).astype(values.dtype)


def from_cielab(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """TIFF's 8-bit CIELAB [H, W, 3] (D50; a and b are signed) to sRGB, clipped to its gamut.

    TIFF 6.0 section 23; matrix of D50 to linear sRGB with Bradford's adaptation (Lindbloom).
    """
    light = values[..., 0].astype(np.float64) * 100 / 255
    a, b = (values[..., k].astype(np.int8).astype(np.float64) for k in (1, 2))
    middle = (light + 16) / 116
    f = np.stack([middle + a / 500, middle, middle - b / 200], -1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * (0.96422, 1, 0.82521)
    linear = np.clip(xyz @ np.array(_D50_TO_SRGB).T, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(255 * encoded).astype(np.uint8)


_D50_TO_SRGB = (
    (3.1338561, -1.6168667, -0.4906146),
    (-0.9787684, 1.9161415, 0.0334540),
    (0.0719453, -0.2289914, 1.4052427),
)


def from_palette(indices: NDArray[Any], table: NDArray[Any]) -> NDArray[np.uint8]:
    """``table`` [N, C], of 8 or 16 bits, looked up at ``indices`` [H, W], as 8 bits [H, W, C].

    Some writers put 8-bit colours into 16-bit entries: a table without a value above 255 is read as
    that, as libtiff's tools do. Indices beyond the table take its last entry.
    """
    if table.max(initial=0) > 255:
        table = np.rint(table / 257)
    return table.astype(np.uint8)[np.clip(indices, 0, len(table) - 1)]
