"""What an image file says beside its pixels: EXIF, XMP, IPTC, comments, PNG texts, TIFF tags."""

import re
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from PIL import ExifTags, Image, ImageFile, IptcImagePlugin, TiffTags, UnidentifiedImageError

from medleak.custom.data.image_files import IMAGE_FORMATS
from medleak.custom.data.quiet import quiet
from medleak.custom.identity.values import Kind, Value

_LONGEST = 1 << 20  # bytes of one text
# Beside comments: what Pillow has read by itself, pictures' technical data, and colour profiles.
_SILENT_SEGMENTS = (b"JFIF", b"JFXX", b"Exif\0", b"ICC_PROFILE", b"Adobe\0", b"MPF\0")
_PNG = b"\x89PNG\r\n\x1a\n"
_IFDS = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo, ExifTags.IFD.Interop, ExifTags.IFD.IFD1)
_PEOPLE = {"Artist", "XPAuthor", "CameraOwnerName", "OwnerName"}
_TECHNICAL = {
    "Make",
    "Model",
    "Software",
    "ExifVersion",
    "FlashPixVersion",
    "LensMake",
    "LensModel",
}


def values_of(path: Path) -> list[Value]:
    """The texts of the image file ``path``, with their places; none of a file that is no image.

    Pixels are not decoded, and nothing here is a reason to refuse the file: its pixels are another
    reader's. One damaged part hides no other, and damaged EXIF is compared by its bytes.
    """
    found: list[Value] = []
    with quiet("PIL"):
        try:
            with path.open("rb") as file:
                if file.read(8) == _PNG:
                    found += _png(file)
            with Image.open(path, formats=IMAGE_FORMATS) as image:
                for part in (_info, _exif, _tiff, _iptc, _segments):
                    found += _undamaged(part, image, path)
        except (OSError, UnidentifiedImageError, SyntaxError, ValueError, struct.error):
            return found
        except Exception:  # damaged files make Pillow's parsers raise nearly anything
            return found
    return found


def _undamaged(
    part: Callable[[ImageFile.ImageFile], Iterator[Value]], image: ImageFile.ImageFile, path: Path
) -> list[Value]:
    """What ``part`` finds; where Pillow's parser complains, the texts in the bytes as well."""
    found: list[Value] = []
    failed = False
    # One thread at a time looks here, so that the list of warnings is its own.
    with warnings.catch_warnings(record=True) as complaints:
        warnings.simplefilter("always")
        try:
            found += part(image)
        except Exception:  # damaged files make Pillow's parsers raise nearly anything
            failed = True
    if complaints or failed:
        raw = image.info.get("exif") or (_beginning(path) if image.format == "TIFF" else b"")
        found += [Value(text, "free", "damaged metadata") for text in _texts(raw)]
    return found


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_LONGEST)


def _info(image: ImageFile.ImageFile) -> Iterator[Value]:
    for key in ("comment", "Comment", "xmp", "XML:com.adobe.xmp", "photoshop"):
        for text in _texts(image.info.get(key)):
            yield Value(text, "free", f"the {'comment' if 'omment' in key else 'metadata'}")


def _exif(image: ImageFile.ImageFile) -> Iterator[Value]:
    # Anew where there are bytes: Pillow has parsed them when it opened the file, and kept quiet.
    exif, data = Image.Exif(), image.info.get("exif")
    if data:
        exif.load(data)
    else:
        exif = image.getexif()
    for ifd in (None, *_IFDS):
        tags = dict(exif) if ifd is None else exif.get_ifd(ifd)
        for tag, value in tags.items():
            yield from _tag(ExifTags.TAGS.get(tag) or _tiff_name(tag), value, f"EXIF {tag:#06x}")


def _tiff(image: ImageFile.ImageFile) -> Iterator[Value]:
    for value in (getattr(image, "tag_v2", None) or {}).items():
        yield from _tag(_tiff_name(value[0]), value[1], f"TIFF tag {value[0]}")


def _iptc(image: ImageFile.ImageFile) -> Iterator[Value]:
    for key, value in (IptcImagePlugin.getiptcinfo(image) or {}).items():
        for text in _texts(value):
            yield Value(text, "free", f"IPTC {key[0]}:{key[1]}")


def _segments(image: ImageFile.ImageFile) -> Iterator[Value]:
    """Every comment of a JPEG file, of which Pillow keeps the last, and its applications' data."""
    for name, data in getattr(image, "applist", ()):
        if not data.startswith(_SILENT_SEGMENTS):
            for text in _texts(data):
                yield Value(text, "free", f"the comment ({name})" if name == "COM" else name)


def _tag(name: str, value: Any, place: str) -> Iterator[Value]:
    if name in _TECHNICAL:
        return
    kind: Kind = "person" if name in _PEOPLE else "free"
    named = f"{name} ({place})" if name else place
    if name.startswith("XP") and isinstance(value, bytes):  # Windows writes UTF-16
        value = value.decode("utf-16-le", "replace").strip("\0")
    for text in _texts(value):
        yield Value(text, kind, named)
        if kind == "person":
            yield Value(text, "free", named)


def _tiff_name(tag: int) -> str:
    return TiffTags.lookup(tag).name.replace(" ", "")


def _png(file: BinaryIO) -> Iterator[Value]:
    """The text chunks of a PNG, those behind its pixels too; nothing is decoded but texts."""
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind not in (b"tEXt", b"zTXt", b"iTXt"):
            file.seek(length + 4, 1)
            continue
        body = file.read(length)
        file.seek(4, 1)
        key, _, rest = body[:_LONGEST].partition(b"\0")
        for text in _texts(key):
            yield Value(text, "free", "a PNG text's key")
        for text in _texts(_png_text(kind, rest)):
            yield Value(text, "free", "a PNG text")


def _png_text(kind: bytes, rest: bytes) -> bytes:
    if kind == b"tEXt":
        return rest
    if kind == b"zTXt":
        return _inflated(rest[1:])
    packed, rest = rest[:1] == b"\1", rest[2:]
    text = rest.split(b"\0", 2)[-1]  # language and translated key stand before it
    return _inflated(text) if packed else text


def _inflated(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, _LONGEST)
    except zlib.error:
        return b""


def _texts(value: Any) -> Iterator[str]:
    """The texts in a value of whatever type a format has for them."""
    if isinstance(value, dict):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list | tuple) and not all(isinstance(v, int | float) for v in value):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, bytes):
        yield from _of_bytes(value[:_LONGEST])
    elif isinstance(value, str) and value.strip("\0 "):
        yield from _without_markup(value[:_LONGEST].strip("\0 "))


def _of_bytes(value: bytes) -> Iterator[str]:
    for prefix in (b"ASCII\0\0\0", b"UNICODE\0", b"JIS\0\0\0\0\0", b"\0" * 8):
        value = value.removeprefix(prefix)
    wide = value[1::2].count(0) > len(value) // 4 or value[::2].count(0) > len(value) // 4
    codes = ("utf-16-le", "utf-16-be") if wide else ("utf-8", "latin-1")
    for code in codes:
        text = value.decode(code, "ignore" if wide else "strict") if wide else _decoded(value, code)
        if text is None:
            continue
        for run in re.findall(r"[^\x00-\x1f\x7f-\x9f]{3,}", text):
            yield from _without_markup(run)
        if not wide:
            return


def _decoded(value: bytes, code: str) -> str | None:
    try:
        return value.decode(code)
    except UnicodeDecodeError:
        return None


def _without_markup(text: str) -> Iterator[str]:
    """XMP's values without the names of its elements, whose words are no patient's."""
    if "<" not in text:
        yield text
        return
    for part in re.findall(r">([^<>]+)<", text) + re.findall(r"=\s*[\"']([^\"']+)[\"']", text):
        if part.strip() and not part.startswith(("http://", "https://", "adobe:")):
            yield part.strip()
