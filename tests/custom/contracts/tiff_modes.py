"""TIFF of every mode: what tifffile and Pillow write, and what they do not, written by hand."""

import io
import struct
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import tifffile
from PIL import Image, ImageCms
from tests.custom.contracts.modes import (
    HEIGHT,
    WIDTH,
    Case,
    eight,
    random,
    saved,
    smooth,
    turned,
)

EXACT = ("none", "lzw", "zlib", "packbits", "zstd", "lzma")


def written(values: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    options.setdefault("metadata", None)
    if turn := options.pop("turn", None):
        options["extratags"] = [(274, 3, 1, turn, True)]
    tifffile.imwrite(file, values, **options)
    return file.getvalue()


def gray_cases() -> Iterator[Case]:
    """Depth x polarity x compression x byte order x orientation, in strips, tiles and BigTIFF."""
    for bits, white_is_zero, packing, order in product((8, 16), (False, True), EXACT, ("<", ">")):
        values = random((HEIGHT, WIDTH), 2**bits - 1, f"u{bits // 8}")
        picture = eight(values, 2**bits - 1)
        picture = 255 - picture if white_is_zero else picture
        for turn, more in (
            *((turn, {}) for turn in range(1, 9)),
            (6, {"tile": (16, 16)}),
            (5, {"bigtiff": True}),
        ):
            yield Case(
                label=f"{bits} bits, inverted {white_is_zero}, {packing}, {order}, {turn}, {more}",
                content=written(
                    values,
                    photometric="miniswhite" if white_is_zero else "minisblack",
                    compression=None if packing == "none" else packing,
                    byteorder=order,
                    turn=turn,
                    **more,
                ),
                right=turned(picture, turn),
            )


def unknown_range_cases() -> Iterator[Case]:
    """Kinds whose black and white no file states: refused, and right with a window."""
    kinds = ("i1", "i2", "i4", "u4", "f2", "f4", "f8")
    for kind, white_is_zero, turn in product(kinds, (False, True), (1, 6)):
        values = random((HEIGHT, WIDTH), 100, kind)
        for window in (None, (10.0, 90.0)):
            picture = turned(eight(values, 90, 10), turn)
            yield Case(
                label=f"{kind}, inverted {white_is_zero}, turn {turn}, window {window}",
                content=written(
                    values,
                    photometric="miniswhite" if white_is_zero else "minisblack",
                    turn=turn,
                ),
                right="--window" if window is None else 255 - picture if white_is_zero else picture,
                window=window,
            )
    for white_is_zero, colour in product((False, True), (False, True)):
        values = random((HEIGHT, WIDTH, 3) if colour else (HEIGHT, WIDTH), 4095, "u2")
        kind = "rgb" if colour else "miniswhite" if white_is_zero else "minisblack"
        content = written(values, photometric=kind)
        yield Case(label=f"12 bits in 16, {kind}", content=content, right="--window")
        picture = eight(values, 4095)
        picture = 255 - picture if kind == "miniswhite" else picture
        yield Case(label=f"12 in 16, {kind}", content=content, right=picture, window=(0, 4095))


def colour_cases() -> Iterator[Case]:
    """RGB of 8 and 16 bits, with and without transparency, in pixels or planes."""
    for bits, planes, packing, extra in product(
        (8, 16), (False, True), ("none", "lzw", "zlib"), (None, "unassalpha", "assocalpha", 0)
    ):
        most = 2**bits - 1
        values = random((HEIGHT, WIDTH, 3 + (extra is not None)), most, f"u{bits // 8}")
        if extra == "assocalpha":  # colours are multiplied: none is above its share
            values[..., :3] = values[..., :3] * (values[..., 3:] / most)
        shares = values[..., 3:] / most if extra == "unassalpha" else 1
        picture = eight(values[..., :3] * shares, most)
        for turn in (1, 3, 8):
            yield Case(
                label=f"{bits} bits, planes {planes}, {packing}, {extra}, turn {turn}",
                content=written(
                    np.moveaxis(values, -1, 0) if planes else values,
                    photometric="rgb",
                    planarconfig="separate" if planes else "contig",
                    compression=None if packing == "none" else packing,
                    extrasamples=None if extra is None else (extra,),
                    turn=turn,
                ),
                right=turned(picture, turn),
                tolerance=int(extra in ("unassalpha", "assocalpha")),
            )
    for packing, predictor in product(("lzw", "zlib"), (2,)):
        values = random((HEIGHT, WIDTH, 3), 65535, "u2")
        content = written(values, photometric="rgb", compression=packing, predictor=predictor)
        yield Case(label=f"{packing}, predictor", content=content, right=eight(values, 65535))


def space_cases() -> Iterator[Case]:
    """Palettes of either depth, CMYK, CIELAB, YCbCr."""
    indices = random((HEIGHT, WIDTH), 255)
    wide, narrow = random((3, 256), 65535, "u2"), random((3, 256), 255, "u2")
    for table, right in ((wide, eight(wide, 65535)), (narrow, narrow.astype(np.uint8))):
        content = written(indices, photometric="palette", colormap=table)
        yield Case(label="palette", content=content, right=right.T[indices])
    for bits in (8, 16):
        most = 2**bits - 1
        inks = random((HEIGHT, WIDTH, 4), most, f"u{bits // 8}").astype(float)
        right = eight((most - inks[..., :3]) * (most - inks[..., 3:]), most**2)
        content = written(inks.astype(f"u{bits // 8}"), photometric="separated")
        yield Case(label=f"CMYK of {bits} bits", content=content, right=right, tolerance=1)
    lab = np.asarray(lab_of(Image.fromarray(smooth(3))))
    content = saved(Image.fromarray(lab, "LAB"), "TIFF")
    yield Case(label="CIELAB", content=content, right=smooth(3), tolerance=4)
    for packing in (None, "tiff_lzw", "tiff_deflate"):
        image = Image.fromarray(random((HEIGHT, WIDTH, 3), 255)).convert("YCbCr")
        content = saved(image, "TIFF", compression=packing)
        right = np.asarray(image.convert("RGB"))
        yield Case(label=f"YCbCr, {packing}", content=content, right=right, tolerance=1)
    for kind in ("rgb", "ycbcr", "minisblack", "miniswhite"):
        values = smooth(3) if kind in ("rgb", "ycbcr") else smooth(1)[..., 0]
        level = {"level": 100}
        content = written(values, photometric=kind, compression="jpeg", compressionargs=level)
        with Image.open(io.BytesIO(content)) as image:  # libtiff's reading
            right = np.asarray(image)
        yield Case(label=f"JPEG in TIFF, {kind}", content=content, right=right, tolerance=1)
    for kind in ("cfa", "icclab", "linear_raw"):
        values = random((HEIGHT, WIDTH) if kind == "cfa" else (HEIGHT, WIDTH, 3), 255)
        content = written(values, photometric=kind)
        yield Case(label=kind, content=content, right="is not read")


def bit_cases() -> Iterator[Case]:
    """1 bit: raw, packed and fax; 2, 4, 10, 12 and 14 bits, which are written here."""
    bits = random((HEIGHT, WIDTH), 1).astype(bool)
    for packing in (None, "packbits", "tiff_lzw", "group3", "group4", "tiff_ccitt"):
        content = saved(Image.fromarray(bits), "TIFF", compression=packing)
        yield Case(label=f"1 bit, {packing}", content=content, right=(bits * 255).astype(np.uint8))
    for depth, white_is_zero, turn in product((1, 2, 4, 6, 10, 12, 14), (False, True), (1, 2, 7)):
        values = random((HEIGHT, WIDTH), 2**depth - 1, "u2")
        picture = eight(values, 2**depth - 1)
        yield Case(
            label=f"{depth} bits, inverted {white_is_zero}, turn {turn}",
            content=packed(values, depth, 0 if white_is_zero else 1, turn),
            right=turned(255 - picture if white_is_zero else picture, turn),
        )


def packed(values: np.ndarray, depth: int, photometric: int, turn: int) -> bytes:
    """Values side by side in bits, each row from a byte's start: the smallest TIFF of one strip."""
    bits = (values[..., None] >> np.arange(depth - 1, -1, -1)) & 1
    rows = np.packbits(bits.reshape(HEIGHT, -1).astype(np.uint8), axis=1).tobytes()
    tags = [(256, 3, WIDTH), (257, 3, HEIGHT), (258, 3, depth), (259, 3, 1), (262, 3, photometric)]
    tags += [(273, 4, 8), (274, 3, turn), (277, 3, 1), (278, 3, HEIGHT), (279, 4, len(rows))]
    body = b"".join(
        struct.pack("<HHI", tag, kind, 1)
        + (struct.pack("<HH", value, 0) if kind == 3 else struct.pack("<I", value))
        for tag, kind, value in tags
    )
    count = struct.pack("<H", len(tags))
    return b"II*\0" + struct.pack("<I", 8 + len(rows)) + rows + count + body + bytes(4)


def stack_cases() -> Iterator[Case]:
    """Several images in one file, also where the file has one page only; and half a file."""
    stack = random((5, HEIGHT, WIDTH), 255)
    for label, content in (
        ("pages", written(stack, photometric="minisblack")),
        ("ImageJ", written(stack, photometric="minisblack", imagej=True, metadata={"axes": "ZYX"})),
        ("OME", written(stack, photometric="minisblack", ome=True, metadata={"axes": "ZYX"})),
        ("shaped", written(stack, photometric="minisblack", metadata={"axes": "ZYX"})),
        ("volume", written(stack, photometric="minisblack", volumetric=True, tile=(1, 16, 16))),
    ):
        yield Case(label=label, content=content, right="frames instead of one image")
    whole = written(random((HEIGHT, WIDTH), 255), photometric="minisblack")
    yield Case(label="half", content=whole[: len(whole) - 20], right="truncated")


def lab_of(image: Image.Image) -> Image.Image:
    to_lab = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    found = ImageCms.applyTransform(image, to_lab)
    assert found is not None
    return found
