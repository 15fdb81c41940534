"""PNG, JPEG, BMP, GIF and WebP to stored samples, by Pillow; 16-bit colour PNG by imagecodecs.

Pillow keeps the upper half of 16-bit colour alone, and reads the transparent shade of a PNG of 2 or
4 bits on another scale than its pixels.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medleak.custom.data.pixels.samples import Samples, UnreadableError

_ORIENTATION = 0x0112


def read_raster(image: Image.Image, path: Path) -> Samples:
    """The samples of ``image``, which Pillow opened from ``path`` and decoded.

    Raises:
        UnreadableError: Its mode has no meaning here, or the decoder of deep colour is missing.
    """
    turn = _orientation(image)
    depth, colours = _png_header(path) if image.format == "PNG" else (8, 0)
    if depth == 16 and colours in (2, 4, 6):
        return _deep_colour(path, image.info.get("transparency"), turn)
    lossy = image.format in ("JPEG", "MPO") or (image.format == "WEBP" and _is_lossy_webp(path))
    mode = image.mode
    if mode == "1":
        return _with_key(image, np.asarray(image, np.uint8), 1, 1, turn)
    if mode == "L":
        return _with_key(image, np.asarray(image), 8, depth, turn, lossy)
    if mode.startswith("I;16"):
        return _with_key(image, np.asarray(image).astype(np.uint16), 16, 16, turn)
    if mode in ("I", "F"):
        return Samples(values=np.asarray(image), bits=None, orientation=turn)
    indices = np.asarray(image.getchannel(0)) if mode in ("P", "PA") else None
    alpha = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = _share(np.asarray(image.getchannel("A")), 8)
    elif mode not in ("RGB", "P", "CMYK", "YCbCr"):
        raise UnreadableError(f"has pixels of the mode {mode}, which is not read")
    values = np.asarray(image.convert("RGB"))
    if mode == "LA":
        values = values[..., 0]
    return Samples(
        values=values, bits=8, alpha=alpha, orientation=turn, indices=indices, lossy=lossy
    )


def _with_key(
    image: Image.Image, gray: NDArray[Any], bits: int, depth: int, turn: int, lossy: bool = False
) -> Samples:
    """Gray samples; one shade may be declared transparent, in values of ``depth`` bits."""
    key = image.info.get("transparency")
    alpha = None
    if isinstance(key, int):
        if bits == 1:  # Pillow gives 255 for the white of 1 bit
            key = min(key, 1)
        elif depth < bits:  # Pillow spreads 2 and 4 bits over 8, but not the key
            key = key * (2**bits - 1) // (2**depth - 1)
        alpha = (gray != key).astype(np.float32)
    return Samples(values=gray, bits=bits, alpha=alpha, orientation=turn, lossy=lossy)


def _deep_colour(path: Path, key: Any, turn: int) -> Samples:
    """A PNG with 16 bits a channel and more than one channel, at full depth."""
    from medleak.custom.data.pixels.codecs import codecs

    values = codecs("16-bit colour PNG").png_decode(path.read_bytes())
    alpha = None
    if values.shape[2] in (2, 4):
        alpha, values = _share(values[..., -1], 16), values[..., :-1]
    elif isinstance(key, tuple):
        alpha = (values != np.array(key)).any(-1).astype(np.float32)
    if values.shape[2] == 1:
        values = values[..., 0]
    return Samples(values=values, bits=16, alpha=alpha, orientation=turn)


def _share(alpha: NDArray[Any], bits: int) -> NDArray[np.float32]:
    return (alpha / (2**bits - 1)).astype(np.float32)


def _png_header(path: Path) -> tuple[int, int]:
    """Bits a channel and colour type of a PNG: bytes 24 and 25, in its first chunk."""
    with path.open("rb") as file:
        head = file.read(26)
    return head[24], head[25]


def _is_lossy_webp(path: Path) -> bool:
    with path.open("rb") as file:
        return b"VP8L" not in file.read(1 << 16)


def _orientation(image: Image.Image) -> int:
    """As EXIF (or XMP) states it; 1 where it is damaged or says nothing."""
    try:
        turn = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # EXIF is free-form: Pillow's parser may raise nearly anything
        return 1
    return turn if turn in range(1, 9) else 1
