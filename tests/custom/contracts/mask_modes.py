"""Masks of every mode: the structure must be where it was drawn, whatever the values are."""

from collections.abc import Iterator
from itertools import product

import numpy as np
from PIL import Image
from tests.custom.contracts import tiff_modes
from tests.custom.contracts.modes import HEIGHT, WIDTH, Case, chunk, exif, png, saved, turned


def drawn() -> np.ndarray:
    """A structure without symmetry."""
    found = np.zeros((HEIGHT, WIDTH), bool)
    found[1:3, 2:7] = True
    found[4, 8] = True
    return found


def png_cases() -> Iterator[Case]:
    """Any value in any channel at any depth; a palette by its indices; nothing transparent."""
    where = drawn()
    depths = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
    for kind, turn in product(depths, range(1, 9)):
        for depth in depths[kind]:
            for value in {1, 2**depth - 1}:
                channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind]
                values = np.zeros((HEIGHT, WIDTH, channels), np.uint16)
                values[..., {2: 2, 6: 2}.get(kind, 0)][where] = value  # blue, which is dark
                if kind in (4, 6):
                    values[..., -1] = 2**depth - 1
                    values[0, 0] = 2**depth - 1, *values[0, 0, 1:-1], 0
                chunks = chunk(b"eXIf", exif(turn))
                if kind == 3:  # the background has a colour, the structure is black
                    table = np.zeros((2**depth, 3), np.uint8)
                    table[0] = 200, 0, 0
                    chunks = chunk(b"PLTE", table.tobytes()) + chunks
                yield Case(
                    label=f"type {kind}, {depth} bits, value {value}, turn {turn}",
                    content=png(values, depth, kind, chunks),
                    right=turned(where.astype(np.uint8), turn),
                )


def tiff_cases() -> Iterator[Case]:
    """Integers of any width and sign, real numbers, and white that is zero."""
    where = drawn()
    for kind, value, white_is_zero, turn in product(
        ("u1", "u2", "u4", "i1", "i2", "i4", "f4", "f8"), (1, 100), (False, True), (1, 2, 6)
    ):
        if white_is_zero and kind not in ("u1", "u2"):
            continue
        values = np.where(where, value, 0).astype(kind)
        yield Case(
            label=f"{kind}, {value}, white is zero {white_is_zero}, turn {turn}",
            content=tiff_modes.written(
                np.iinfo(kind).max - values if white_is_zero else values,
                photometric="miniswhite" if white_is_zero else "minisblack",
                compression="zlib",
                turn=turn,
            ),
            right=turned(where.astype(np.uint8), turn),
        )


def lossy_cases() -> Iterator[Case]:
    """JPEG and WebP: cut at half; labels in them, which compression has mixed, are refused."""
    where = np.repeat(np.repeat(drawn(), 16, 0), 16, 1)
    for format, mode, quality in product(("JPEG", "WEBP"), ("L", "RGB"), (30, 60, 100)):
        image = Image.fromarray(np.where(where, 255, 0).astype(np.uint8)).convert(mode)
        content = saved(image, format, quality=quality)
        right = where.astype(np.uint8)
        yield Case(label=f"{format}, {mode}, {quality}", content=content, right=right)
    for format in ("JPEG", "WEBP"):
        labels = Image.fromarray(np.where(where, 20, 0).astype(np.uint8))
        content = saved(labels, format, quality=100)
        yield Case(label=f"labels in {format}", content=content, right="as PNG")
