"""PNG, JPEG, BMP, GIF and WebP of every mode."""

import io
from collections.abc import Iterator
from itertools import product

import numpy as np
from PIL import Image
from tests.custom.contracts.modes import (
    HEIGHT,
    WIDTH,
    Case,
    chunk,
    eight,
    exif,
    png,
    png_of_any_size,
    random,
    saved,
    smooth,
    turned,
)


def png_cases() -> Iterator[Case]:
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
    depths = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
    for kind, passes, turn in product(channels, (False, True), range(1, 9)):
        for depth, keyed in product(depths[kind], (False, True)):
            if keyed and kind > 3:
                continue
            most = 2**depth - 1
            values = random((HEIGHT, WIDTH, channels[kind]), most, np.uint16)
            right, chunks = png_truth(values, depth, kind, keyed)
            chunks += chunk(b"eXIf", exif(turn))
            yield Case(
                label=f"type {kind}, {depth} bits, key {keyed}, passes {passes}, turn {turn}",
                content=png(values, depth, kind, chunks, passes),
                right=turned(right, turn),
                tolerance=int(kind > 3 or keyed),  # a share of a value, rounded twice
            )


def png_truth(values: np.ndarray, depth: int, kind: int, keyed: bool) -> tuple[np.ndarray, bytes]:
    most = 2**depth - 1
    if kind == 3:
        table = random((most + 1, 3), 255)
        chunks = chunk(b"PLTE", table.tobytes())
        picture = table[values[..., 0]]
        if keyed:
            shares = random(most + 1, 255)
            chunks += chunk(b"tRNS", shares.tobytes())
            picture = eight(picture * (shares[values] / 255), 255)
        return picture, chunks
    colours = values[..., : 3 if kind in (2, 6) else 1]
    picture = eight(colours, most)
    chunks = b""
    if keyed:
        chunks = chunk(b"tRNS", colours[2, 3].astype(">u2").tobytes())
        picture = np.where((colours == colours[2, 3]).all(-1, keepdims=True), 0, picture)
    if kind in (4, 6):
        picture = eight(colours / most * (values[..., -1:] / most), 1)
    return picture[..., 0] if kind in (0, 4) else picture, chunks


def deep_png_cases() -> Iterator[Case]:
    """12 bits in 16: refused as they are, right with a window; a label of full white hides none."""
    for kind, label in product((0, 2, 4, 6), (False, True)):
        colours = {0: 1, 2: 3, 4: 1, 6: 3}[kind]
        values = random((HEIGHT, WIDTH, colours), 4095, np.uint16)
        if label:
            values = np.repeat(np.repeat(values, 20, 0), 20, 1)
            values[0, :5] = 65535
        stored = values
        if kind in (4, 6):
            stored = np.dstack([values, np.full(values.shape[:2], 65535, np.uint16)])
        file = io.BytesIO()
        file.write(png_of_any_size(stored, kind))
        right = eight(values, 4095)
        right = right[..., 0] if colours == 1 else right
        name = f"12 bits in 16, type {kind}, label {label}"
        yield Case(label=name, content=file.getvalue(), right="--window")
        yield Case(label=name, content=file.getvalue(), right=right, window=(0, 4095))


def jpeg_cases() -> Iterator[Case]:
    import imagecodecs

    for mode, progressive, subsampling, turn in product(
        ("L", "RGB", "CMYK"), (False, True), (0, 2), range(1, 9)
    ):
        channels = len(mode) if mode != "L" else 1
        values = smooth(channels)
        image = Image.fromarray(values[..., 0] if mode == "L" else values, mode)
        tag = Image.Exif()
        tag[0x112] = turn
        content = saved(
            image,
            "JPEG",
            quality=100,
            subsampling=subsampling,
            progressive=progressive,
            exif=tag,
        )
        second = imagecodecs.jpeg8_decode(content)
        if mode == "CMYK":  # Adobe writes inks inverted
            light = second.astype(float)
            second = eight(light[..., :3] * light[..., 3:] / 255, 255)
        yield Case(
            label=f"{mode}, progressive {progressive}, {subsampling}, turn {turn}",
            content=content,
            right=turned(second, turn),
            tolerance=1,
        )


def other_cases() -> Iterator[Case]:
    """BMP, GIF and WebP."""
    gray, colour = random((HEIGHT, WIDTH), 255), random((HEIGHT, WIDTH, 3), 255)
    clear = np.dstack([colour, random((HEIGHT, WIDTH), 255)])
    bits = gray > 99
    table = Image.fromarray(gray % 16, "P")
    shades = random((16, 3), 255)
    table.putpalette(shades.tobytes())
    blended = eight(colour * (clear[..., 3:] / 255), 255)
    for format, image, right in (
        ("BMP", Image.fromarray(bits), bits * 255),
        ("BMP", Image.fromarray(gray), gray),
        ("BMP", table, shades[gray % 16]),
        ("BMP", Image.fromarray(colour), colour),
        ("GIF", Image.fromarray(gray), np.dstack([gray] * 3)),
        ("GIF", table, shades[gray % 16]),
    ):
        content = saved(image, format)
        yield Case(label=f"{format} {image.mode}", content=content, right=right.astype(np.uint8))
    keyed = saved(table, "GIF", transparency=3)
    right = np.where((gray % 16 == 3)[..., None], 0, shades[gray % 16])
    yield Case(label="GIF, one colour transparent", content=keyed, right=right)
    for turn in range(1, 9):
        tag = Image.Exif()
        tag[0x112] = turn
        for name, image, right in (
            ("WebP RGB", Image.fromarray(colour), colour),
            ("WebP RGBA", Image.fromarray(clear), blended),
        ):
            content = saved(image, "WEBP", lossless=True, exact=True, exif=tag)
            label = f"{name}, turn {turn}"
            yield Case(label=label, content=content, right=turned(right, turn), tolerance=1)
    for format in ("GIF", "WEBP", "PNG"):
        pictures = [Image.fromarray(gray), Image.fromarray(255 - gray)]
        content = saved(pictures[0], format, save_all=True, append_images=pictures[1:])
        yield Case(label=f"{format} of 2 frames", content=content, right="2 frames")
