"""Images of every mode that Pillow, tifffile and pydicom can write, and what must be seen of them.

What is common to the families: how one is told from the other, and how a file is judged.
"""

import io
import struct
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medleak.custom.data.data_error import DataError
from medleak.custom.data.dicom import decode_dicom
from medleak.custom.data.pixels.reading import read_image, read_mask

HEIGHT, WIDTH = 6, 10  # no side of the other's length, and one that bits do not fill


@dataclass(frozen=True, kw_only=True)
class Case:
    """A file, and the picture that must be seen, or a word of the reason why it is refused."""

    label: str
    content: bytes
    right: np.ndarray | str
    window: tuple[float, float] | None = None
    tolerance: int = 0


@dataclass(frozen=True, kw_only=True)
class Family:
    """Cases of one kind of file.

    Attributes:
        name: In the table.
        varied: What differs among them, in a few words.
        suffix: Of the files; ``mask`` for masks, whose right pictures are of 0 and 1.
        cases: The cases.
    """

    name: str
    varied: str
    suffix: str
    cases: Callable[[], Iterator[Case]]


def random(shape: Any, most: int, dtype: Any = np.uint8) -> np.ndarray:
    """Values of the whole range from 0 to ``most``, both ends among them."""
    values = np.random.default_rng(7).integers(0, most + 1, shape).astype(dtype)
    values.flat[:2] = 0, most
    return values


def eight(values: np.ndarray, white: float, black: float = 0) -> np.ndarray:
    """The picture of ``values`` by its definition."""
    share = (values.astype(np.float64) - black) / (white - black)
    return np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)


def turned(picture: np.ndarray, orientation: int) -> np.ndarray:
    """As Pillow turns a stored picture to be seen."""
    method = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }.get(orientation)
    return picture if method is None else np.asarray(Image.fromarray(picture).transpose(method))


def png(values: np.ndarray, depth: int, kind: int, chunks: bytes = b"", passes: bool = False):
    """``values`` [H, W, C] as PNG of ``depth`` bits and colour type ``kind``; interlaced or not."""

    def rows(part: np.ndarray) -> bytes:
        if depth == 16:
            return b"".join(b"\0" + row.astype(">u2").tobytes() for row in part)
        bits = np.unpackbits(part.astype(np.uint8)[..., None], axis=-1)[..., 8 - depth :]
        return b"".join(b"\0" + np.packbits(row.ravel()).tobytes() for row in bits)

    adam7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2))
    grid = (*adam7, (1, 0, 2, 1)) if passes else ((0, 0, 1, 1),)
    parts = [values[y::dy, x::dx] for y, x, dy, dx in grid]
    body = b"".join(rows(part) for part in parts if part.size)
    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, kind, 0, 0, int(passes))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunks
        + chunk(b"IDAT", zlib.compress(body))
        + chunk(b"IEND", b"")
    )


def png_of_any_size(values: np.ndarray, kind: int) -> bytes:
    """``values`` [H, W, C] of 16 bits as PNG of colour type ``kind``."""
    body = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, kind, 0, 0, 0)
    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def exif(orientation: int) -> bytes:
    return struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 0x112, 3, 1, orientation, 0, 0)


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def smooth(channels: int) -> np.ndarray:
    """A ramp in each channel, which lossy compression hardly changes."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    ramps = [20 + 18 * x, 20 + 30 * y, 200 - 10 * x, 10 + 5 * y]
    return np.stack(ramps[:channels], -1).astype(np.uint8)


def outcome(case: Case, family: Family, folder: Path) -> str:
    """What became of it: read, refused, or how the picture differs from the right one."""
    path = folder / f"x.{family.suffix}"
    path.write_bytes(case.content)
    try:
        if family.suffix == "dcm":
            found, _ = decode_dicom(path, case.window)
        elif family.suffix == "mask":
            found = read_mask(path, path).astype(np.uint8)
        else:
            found = read_image(path, case.window)
    except DataError as error:
        said = str(error)
        right = isinstance(case.right, str) and case.right in said
        return "refused" if right else f"{case.label}: {said}"
    if isinstance(case.right, str):
        return f"{case.label}: read, although {case.right}"
    if found.shape != case.right.shape:
        return f"{case.label}: {found.shape} instead of {case.right.shape}"
    most = int(np.abs(found.astype(int) - case.right.astype(int)).max())
    return "read" if most <= case.tolerance else f"{case.label}: differs by {most}"


def counts(family: Family) -> tuple[Counter[str], list[str]]:
    """How many of ``family`` are read and refused, and what is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        found = Counter(outcome(case, family, Path(folder)) for case in family.cases())
    wrong = [line for line in found if line not in ("read", "refused")]
    return found, wrong


def row(family: Family, found: Counter[str]) -> str:
    return f"| {family.name} | {family.varied} | {found['read']} | {found['refused']} |"
