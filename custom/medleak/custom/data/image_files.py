"""Image files: which there are in a folder, told by their first bytes, and opening one.

A name, a link, a pipe, or a header that promises a billion pixels must not lead it astray.
"""

import os
import stat
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypedDict, Unpack

from PIL import Image, UnidentifiedImageError

from medleak.custom.data.data_error import DataError
from medleak.custom.data.quiet import quiet

IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP")
IMAGE_KINDS = "PNG, JPEG, BMP, TIFF, GIF or WebP"
_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp"}
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Images all the same: a folder that holds some of them would be short of them without notice.
_UNREAD = {
    *(".heic", ".heif", ".avif", ".jp2", ".j2k", ".jpx", ".jxl", ".jls"),
    *(".dcm", ".ima", ".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".mgz", ".npy", ".raw"),
    *(".svs", ".ndpi", ".mrxs", ".scn", ".czi", ".lif", ".vsi", ".psd", ".exr", ".tga"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
}
# At the start of JPEG 2000 (as a file and bare) and JPEG XL (likewise), whatever they are called.
_UNREAD_STARTS = (*(b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51", b"\0\0\0\x0cJXL ", b"\xff\x0a"),)
_HEIF_BRANDS = (b"heic", b"heix", b"mif1", b"avif")


Omit = Callable[[Path], bool]
"""Whether a file or folder is no part of the set: then it is not looked at, whatever is in it."""


class Search(TypedDict, total=False):
    """What a search for images is told of the files; its callers pass it on.

    Attributes:
        claimed: Files that only claim to be images, or cannot be read, are among them: whoever
            decodes them leaves them out and says so.
        leave_out: What is no part of the set; without, everything is.
    """

    claimed: bool
    leave_out: Omit


def sub_folders(folder: Path, leave_out: Omit | None = None) -> list[str]:
    """Names of the sub-folders of ``folder`` that are not hidden, links to folders among them.

    Raises:
        DataError: ``folder`` cannot be read, or a link in it leads nowhere.
    """
    return sorted(entry.name for entry in _scan(folder, leave_out) if _is_folder(entry))


def find_images(folder: Path, **search: Unpack[Search]) -> Iterator[Path]:
    """Image files in and below ``folder``, in no stated order.

    Hidden files and files that neither are nor claim to be images are passed over.

    Args:
        folder: To search.
        search: See `Search`.

    Raises:
        DataError: A file claims to be an image that is none, or is one of a kind that is not read;
            a link leads nowhere or back; something cannot be read.
    """
    claimed = search.get("claimed", False)
    for path in files_below(folder, search.get("leave_out")):
        if _holds_image(path, claimed):
            yield path


def files_below(folder: Path, leave_out: Omit | None = None) -> Iterator[Path]:
    """What is no folder in and below ``folder``, and is not hidden; links are followed.

    Raises:
        DataError: A link leads nowhere or back, or a folder cannot be read.
    """
    return _below(folder, (), leave_out)


def _scan(folder: Path, leave_out: Omit | None) -> list[os.DirEntry[str]]:
    """Entries of ``folder`` that are neither hidden nor left out, by name."""
    try:
        with os.scandir(folder) as entries:
            found = sorted((e for e in entries if e.name[0] != "."), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(
            f"Folder {str(folder)!r} cannot be read ({error.strerror}): its images would be left "
            "out without notice. Allow reading it or take it out of the data root."
        ) from None
    return found if leave_out is None else [e for e in found if not leave_out(folder / e.name)]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether ``entry`` is a folder or a link to one."""
    try:
        if entry.is_symlink():
            entry.stat()
        return entry.is_dir()
    except OSError as error:
        raise DataError(
            f"Link {entry.path!r} leads nowhere ({error.strerror}): images behind it would be left "
            "out without notice. Remove the link."
        ) from None


def _below(folder: Path, above: tuple[Path, ...], leave_out: Omit | None) -> Iterator[Path]:
    """Files in and below ``folder``; ``above``: the real folders that lead to it."""
    real = folder.resolve()
    if real in above:
        raise DataError(
            f"Folder {str(folder)!r} is a link back to {str(real)!r}, which holds it: reading "
            "would never end. Remove the link."
        )
    for entry in _scan(folder, leave_out):
        if _is_folder(entry):
            yield from _below(folder / entry.name, (*above, real), leave_out)
        else:
            yield folder / entry.name


def _holds_image(path: Path, claimed: bool) -> bool:
    """Whether ``path`` starts as an image does; a false name or another kind is an error.

    With ``claimed`` a false name is an image, too; a pipe, which would never end, is not.
    """
    suffix = ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()
    claims = suffix in _SUFFIXES | _UNREAD
    try:
        # A pipe or device would block or never end: only regular files are opened.
        regular = stat.S_ISREG(path.stat().st_mode)
        head = b""
        if regular:
            with path.open("rb") as file:
                head = file.read(132)
    except OSError as error:
        if not claims or claimed:
            return claims
        raise DataError(
            f"Image {str(path)!r} cannot be read ({error.strerror}): the class would be one image "
            "short without notice. Mend or remove it."
        ) from None
    known = (
        head.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a"))
        or head.startswith(_TIFF)
        or (head.startswith(b"BM") and head[6:10] == bytes(4))
        or (head.startswith(b"RIFF") and head[8:12] == b"WEBP")
    )
    if not known and (suffix in _UNREAD or _is_of_unread_kind(head)):
        raise DataError(
            f"Image {str(path)!r} is of a kind that is not read: its class would be short of it "
            f"without notice. Convert it to PNG (DICOM: `medleak data dicom`), or remove it."
        )
    if claims and not known and not (claimed and regular):
        what = f"holds no {IMAGE_KINDS} image" if regular else "is not a regular file"
        raise DataError(
            f"Image {str(path)!r} {what}, whatever its name says: it cannot be trained on. Remove "
            "it, or replace it by the image."
        )
    return known or (claimed and claims)


def may_be_image(path: Path) -> bool:
    """Whether ``path`` is an image of any kind by its first bytes, or claims to be one."""
    try:
        return _holds_image(path, True)
    except DataError:  # of a kind that is not read
        return True


def _is_of_unread_kind(head: bytes) -> bool:
    """Whether a file that starts with ``head`` is an image that is not read, whatever its name."""
    if head[128:] == b"DICM" or head.startswith(_UNREAD_STARTS):
        return True
    return head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS


def is_tiff(path: str | Path) -> bool:
    """Whether ``path`` is a regular file that starts as TIFF or BigTIFF does."""
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            return False
        with Path(path).open("rb") as file:
            return file.read(4) in _TIFF
    except OSError:
        return False


def _check_size(image: Image.Image) -> None:
    """Pillow's limit, which other threads' filters for warnings cannot lift."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit and image.width * image.height > limit:
        raise Image.DecompressionBombError


def open_image(path: str | Path) -> Image.Image:
    """Open and decode the single image in the file ``path``.

    Raises:
        DataError: It is missing, not an image, truncated, damaged, several images in one file, or
            so large that decoding it is an attack on the memory (Pillow's limit).
    """
    try:
        with quiet("PIL"):
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(path, formats=IMAGE_FORMATS)
            with image:
                _check_size(image)
                frames = getattr(image, "n_frames", 1)
                image.load()
    except FileNotFoundError:
        what = "does not exist"
    except UnidentifiedImageError:
        what = f"holds no {IMAGE_KINDS} image"
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        what = f"has more than {Image.MAX_IMAGE_PIXELS} pixels"
    except OSError as error:
        what = f"cannot be read ({' '.join(str(error.strerror or error).split())})"
    except Exception as error:  # damaged files make Pillow's parsers raise nearly anything
        what = f"is damaged ({type(error).__name__}: {' '.join(str(error).split())})"
    else:
        if frames == 1:
            return image
        what = f"holds {frames} frames instead of one image"
    raise DataError(
        f"Image {str(path)!r} {what}: it cannot be trained on. Mend, replace or remove it."
    )
