"""TIFF of every depth and layout to stored samples, by tifffile; fax compression by Pillow.

Pillow has no mode for most of what TIFF may hold, and reads some of it without a word on a wrong
scale: 16 bits inverted, palettes of 8-bit entries, the first plane of an ImageJ stack.
"""

from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medleak.custom.data.pixels.codecs import codecs
from medleak.custom.data.pixels.colour import (
    REC_601,
    from_cielab,
    from_cmyk,
    from_palette,
    from_ycbcr,
)
from medleak.custom.data.pixels.samples import Samples, UnreadableError
from medleak.custom.data.quiet import captured

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

_FAX = (2, 3, 4, 32771)
_JPEG = (7, 33007, 34892)
_LOSSY = (*_JPEG, 33003, 33004, 33005, 34712, 34927, 34933, 50001, 50002, 52546)
# Photometric interpretation to the samples that colour takes (TIFF 6.0, tag 262).
_GRAY = (0, 1)
_PALETTE, _CMYK, _YCBCR, _CIELAB = 3, 5, 6, 8
_COLOURS = {0: 1, 1: 1, 2: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3, _CIELAB: 3}
_ALPHA = {1: True, 2: False}
"""ExtraSamples: associated (premultiplied) or not; others are no transparency."""


def read_tiff(path: Path) -> Samples:
    """The one image in the TIFF file ``path``.

    Raises:
        UnreadableError: It is several images, truncated, larger than Pillow's limit, or of a
            meaning that is not known here.
        Exception: Of tifffile, where the file is damaged.
    """
    from tifffile import TiffFile

    with TiffFile(path) as file:
        page = _only(file)
        _check(page, path)
        if page.compression in _FAX:
            return _by_pillow(page, path)
        return _samples(page)


def _only(file: "TiffFile") -> "TiffPage":
    """The page of a file that holds one image, however it counts them."""
    frames = len(file.pages)
    page = file.pages.first
    if frames == 1:
        # ImageJ, MetaMorph, OME and tifffile itself put a whole stack behind one page.
        shapes = [prod(series.shape) for series in file.series]
        frames = max(sum(shapes) // max(prod(page.shape), 1), 1)
    if frames != 1 or page.imagedepth != 1:
        raise UnreadableError(f"holds {max(frames, page.imagedepth)} frames instead of one image")
    return page


def _check(page: "TiffPage", path: Path) -> None:
    """Refuse before decoding what is too large, truncated, or of no known meaning."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit and page.imagewidth * page.imagelength > limit:
        raise UnreadableError(f"has more than {limit} pixels")
    if not page.imagewidth * page.imagelength:
        raise UnreadableError("has no pixels")
    ends = [a + b for a, b in zip(page.dataoffsets, page.databytecounts, strict=True)]
    # tifffile fills what is missing with black.
    if not ends or 0 in page.databytecounts or max(ends) > path.stat().st_size:
        raise UnreadableError("is truncated")
    if page.photometric not in _COLOURS:
        raise UnreadableError(f"has the colour space {_name(page.photometric)}, which is not read")
    if page.compression == 6 or (page.compression in _JPEG and page.photometric == _CMYK):
        raise UnreadableError(
            f"is compressed as {_name(page.compression)} in colour that decoders read differently"
        )
    if page.samplesperpixel < _COLOURS[int(page.photometric)]:
        raise UnreadableError(
            f"has {page.samplesperpixel} values a pixel, too few for {_name(page.photometric)}"
        )
    if not isinstance(page.bitspersample, int):
        raise UnreadableError("has channels of different depth")
    if page.sampleformat not in (1, 2, 3):
        raise UnreadableError(f"has values of the kind {_name(page.sampleformat)}")


def _samples(page: "TiffPage") -> Samples:
    bits = page.bitspersample if page.sampleformat == 1 else None
    stored = _decoded(page)
    colours = _COLOURS[int(page.photometric)]
    alpha, premultiplied = _alpha(page, stored, colours, bits)
    values: NDArray[Any] = stored[..., :colours]
    indices = None
    if page.photometric == _PALETTE:
        table = page.colormap
        if table is None or bits is None:
            raise UnreadableError("has no palette for its indices")
        indices = values[..., 0]
        values, bits = from_palette(indices, table.T), 8
    elif page.photometric not in (0, 1, 2):
        values = _to_rgb(page, values, bits)
    elif colours == 1:
        values = values[..., 0]
    turn = page.tags.valueof(274, 1)
    return Samples(
        values=values,
        bits=bits,
        alpha=alpha,
        premultiplied=premultiplied,
        inverted=page.photometric == 0,
        orientation=turn if turn in range(1, 9) else 1,
        indices=indices,
        lossy=page.compression in _LOSSY,
    )


def _decoded(page: "TiffPage") -> NDArray[Any]:
    """[H, W, samples], whatever the planar configuration."""
    try:
        stored = page.asarray()
    except ValueError as error:
        if "imagecodecs" in str(error):
            codecs(f"compressed as {_name(page.compression)}")
        raise
    stored = stored.reshape(page.shape)
    if page.axes == "SYX":
        stored = np.moveaxis(stored, 0, -1)
    elif page.axes == "YX":
        stored = stored[..., None]
    elif page.axes != "YXS":
        raise UnreadableError(f"has the axes {page.axes}, which are not read")
    return stored.astype(np.uint8) if stored.dtype == np.bool_ else stored


def _alpha(
    page: "TiffPage", stored: NDArray[Any], colours: int, bits: int | None
) -> tuple[NDArray[np.float32] | None, bool]:
    """Transparency, where a sample beyond the colours is declared to be that.

    Two or four samples without any declaration are taken for gray or RGB with transparency, as
    Pillow does.
    """
    extra = stored.shape[2] - colours
    kinds = [int(kind) for kind in page.extrasamples[:extra]] or ([2] if extra == 1 else [])
    place = next((k for k, kind in enumerate(kinds) if kind in _ALPHA), None)
    if place is None:
        return None, False
    share = stored[..., colours + place].astype(np.float32)
    if bits is not None:
        share /= 2**bits - 1
    elif stored.dtype.kind != "f" or share.min() < 0 or share.max() > 1:
        raise UnreadableError("has transparency on an unknown scale")
    return share, _ALPHA[kinds[place]]


def _to_rgb(page: "TiffPage", values: NDArray[Any], bits: int | None) -> NDArray[Any]:
    space = _name(page.photometric)
    if bits is None or values.dtype.kind != "u":
        raise UnreadableError(f"has signed or real values of {space}, which are not read")
    if page.photometric == _CIELAB:
        if bits != 8:
            raise UnreadableError(f"has {bits} bits of {space}, which are not read")
        return from_cielab(values)
    if page.photometric == _CMYK:
        if page.tags.valueof(332, 1) != 1:
            raise UnreadableError("has inks other than cyan, magenta, yellow and black")
        return from_cmyk(values, bits)
    if page.compression in _LOSSY:  # the decoder gives RGB
        return values
    if (page.tags.valueof(530) or (2, 2)) != (1, 1):
        raise UnreadableError(f"has {space} of reduced resolution without JPEG")
    white = 2**bits - 1
    reference = _numbers(page.tags.valueof(532)) or (0, white, *[(white + 1) // 2, white] * 2)
    if reference != (0, white, *[(white + 1) // 2, white] * 2):
        raise UnreadableError(f"has {space} with another reference than the full range")
    shares = _numbers(page.tags.valueof(529)) or REC_601
    return from_ycbcr(values, bits, (shares[0], shares[1], shares[2]))


def _numbers(value: Any) -> tuple[float, ...]:
    """A tag's numbers; rationals come as numerators and denominators."""
    flat = [float(number) for number in np.ravel(value)] if value is not None else []
    if len(flat) in (6, 12) and all(flat[1::2]):
        return tuple(a / b for a, b in zip(flat[::2], flat[1::2], strict=True))
    return tuple(flat)


def _by_pillow(page: "TiffPage", path: Path) -> Samples:
    """Fax compression, which is of one bit; Pillow turns it upright and makes white white."""
    if page.bitspersample != 1 or page.samplesperpixel != 1 or page.photometric not in _GRAY:
        raise UnreadableError(f"is compressed as {_name(page.compression)}, but not of one bit")
    with captured() as said, Image.open(path, formats=("TIFF",)) as image:
        image.load()
    # libtiff prints that a line is damaged, and goes on with the next.
    if b"Fax" in said:
        raise UnreadableError("is damaged (lines of its fax compression cannot be decoded)")
    return Samples(values=np.asarray(image.convert("1"), np.uint8), bits=1)


def _name(value: Any) -> str:
    return str(getattr(value, "name", value))
