"""The report's pictures: bare PNG, each once, as many as fit, none that may not be shown."""

import base64
import hashlib
import io
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEPT_CHUNKS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_LARGEST_SIDE = 4096
_LARGEST_FILE = 32 * 2**20
_SMALLEST = 92  # base64 of a PNG of one pixel
REDUCED_SIDE = 128
"""Pixels a side that pictures are reduced to where they would not fit."""


class Album:
    """Pictures of one report, in the order in which they were added.

    Args:
        budget: Characters of base64 that all may take together.
        reduced: Reduce pictures to `REDUCED_SIDE`.

    Attributes:
        pictures: Base64 of each PNG; `add` returns places in this list.
        left_out: Pictures that were there, but did not fit.
        unreadable: Files that are missing, damaged, too large or outside of the audit.
        withheld: Reconstructions left out because they equal an original that may not be shown.
        larger: Pictures that are, or were, larger than `REDUCED_SIDE`.
    """

    def __init__(self, budget: int, *, reduced: bool = False) -> None:
        """An empty album."""
        self.pictures: list[str] = []
        self.left_out = self.unreadable = self.withheld = self.larger = 0
        self._budget, self._reduced = budget, reduced
        self._places: dict[bytes, int] = {}
        self._known: dict[Path, int | None] = {}
        self._forbidden: set[bytes] = set()

    def forbid(self, folder: Path, names: Iterable[str]) -> None:
        """Never show these, nor any picture with the same pixels."""
        for name in dict.fromkeys(names):
            try:
                self._forbidden.add(_pixels_digest(read_png(folder, name)))
            except ValueError:
                continue  # what cannot be read cannot be shown either

    def add(self, folder: Path, name: str, *, whole: bool = False) -> int | None:
        """Place of the picture ``name`` of the audit in ``folder``; None: it is not in the album.

        Equal pictures share a place. A picture that is of use ``whole`` alone is left out where
        others would be reduced.
        """
        path = folder / name
        if path not in self._known:
            self._known[path] = self._add(folder, name, whole)
        return self._known[path]

    def _add(self, folder: Path, name: str, whole: bool) -> int | None:
        if self._budget < _SMALLEST or (whole and self._reduced):  # full: do not even read
            self.left_out += 1
            return None
        try:
            png = self._admitted(folder, name)
        except ValueError:
            self.unreadable += 1
            return None
        if png is None:
            self.withheld += 1
            return None
        digest = hashlib.sha256(png).digest()
        if digest in self._places:
            return self._places[digest]
        text = base64.b64encode(png).decode()
        if len(text) > self._budget:
            self.left_out += 1
            return None
        self._budget -= len(text)
        self.pictures.append(text)
        self._places[digest] = len(self.pictures) - 1
        return self._places[digest]

    def _admitted(self, folder: Path, name: str) -> bytes | None:
        """The picture as it goes into the file; None if it equals one that may not be shown."""
        png = read_png(folder, name)
        if self._forbidden and _pixels_digest(png) in self._forbidden:
            return None
        if max(_size(png)) <= REDUCED_SIDE:
            return png
        self.larger += 1
        return _reduce(png) if self._reduced else png


def read_png(folder: Path, name: str) -> bytes:
    """A PNG below ``folder``, with its pixels and nothing else (no text, time, EXIF).

    Raises:
        ValueError: It is missing, outside of ``folder``, no PNG, damaged or unreasonably large.
    """
    base = folder.resolve()
    try:
        path = (base / name).resolve()
        if not path.is_relative_to(base) or not path.is_file():
            raise ValueError(f"{name!r} is no picture of the audit in {folder}.")
        if path.stat().st_size > _LARGEST_FILE:
            raise ValueError(f"{name!r} is larger than {_LARGEST_FILE} bytes.")
        data = path.read_bytes()
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        raise ValueError(f"{name!r} cannot be read: {error}.") from None
    png = _SIGNATURE + b"".join(whole for kind, whole in _chunks(data) if kind in _KEPT_CHUNKS)
    if len(png) < 45 or png[12:16] != b"IHDR":
        raise ValueError(f"{name!r} is no PNG.")
    width, height = _size(png)
    if not (0 < width <= _LARGEST_SIDE and 0 < height <= _LARGEST_SIDE):
        raise ValueError(f"{name!r} has {width} x {height} pixels: too many to embed.")
    return png


def _size(png: bytes) -> tuple[int, int]:
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    if not data.startswith(_SIGNATURE):
        raise ValueError("Not a PNG.")
    place = len(_SIGNATURE)
    while place + 12 <= len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        end = place + 12 + length
        if end > len(data):
            raise ValueError("The PNG is cut off.")
        yield data[place + 4 : place + 8], data[place:end]
        place = end


def _pixels_digest(png: bytes) -> bytes:
    """The same for equal pictures, however they are compressed."""
    try:
        with Image.open(io.BytesIO(png)) as picture:
            pixels = np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"The PNG is damaged: {error}.") from None
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()


def _reduce(png: bytes) -> bytes:
    try:
        with Image.open(io.BytesIO(png)) as picture:
            picture.thumbnail((REDUCED_SIDE, REDUCED_SIDE), Image.Resampling.BOX)
            buffer = io.BytesIO()
            picture.save(buffer, format="PNG", optimize=True)
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"The PNG is damaged: {error}.") from None
    return buffer.getvalue()
