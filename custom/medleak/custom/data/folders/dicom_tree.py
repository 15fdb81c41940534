"""DICOM files in a folder: which there are, of which class, and how many others lie among them."""

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from medleak.custom.data.data_error import DataError
from medleak.custom.data.dicom import is_dicom
from medleak.custom.data.folders.recognition import refuse_other_layouts
from medleak.custom.data.image_files import files_below

ONE_CLASS = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomTree:
    """Files by path with their class, the classes sorted, and what was passed over, by reason."""

    files: tuple[tuple[Path, str], ...]
    classes: tuple[str, ...]
    left_out: Mapping[str, int]


def find_dicom(root: Path, *, told: bool = False) -> DicomTree:
    """The DICOM files in and below ``root``: a sub-folder a class, or all of one class ``all``.

    A file is DICOM by its content, with or without the preamble, or if it is called ``.dcm``: what
    only claims to be is refused when decoded. Links to folders are followed.

    Args:
        root: Folder of DICOM files, whatever they are called.
        told: The user says that each sub-folder is a class.

    Raises:
        DataError: There is no such folder or no such file, files lie beside the classes, the
            sub-folders look like something else than classes, a link leads nowhere or back, or a
            folder cannot be read.
    """
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise DataError(f"{str(root)!r} {what}: there are no images to read. Name a folder.")
    files: list[tuple[Path, str]] = []
    reasons: Counter[str] = Counter()
    for path in sorted(files_below(root)):
        inside = path.relative_to(root).parts
        if (reason := _passed_over(path)) is not None:
            reasons[reason] += 1
        else:
            files.append((path, inside[0] if len(inside) > 1 else ONE_CLASS))
    if hidden := _hidden(root):
        reasons["hidden"] = hidden
    if not files:
        counted = ", ".join(f"{n} {reason}" for reason, n in sorted(reasons.items()))
        raise DataError(
            f"Folder {str(root)!r} holds no DICOM file ({counted or 'it is empty'}): there is "
            "nothing to convert. Name the folder of the files, one sub-folder a class."
        )
    beside = sum(path.parent == root for path, _ in files)
    if 0 < beside < len(files):
        raise DataError(
            f"Folder {str(root)!r} has {beside} DICOM files beside its sub-folders: of which class "
            "they are is unknown. Put them into one, or take them out."
        )
    classes = tuple(sorted({name for _, name in files}))
    if not told and not beside:
        refuse_other_layouts(root, classes, given=False, nested=False)
    return DicomTree(files=tuple(files), classes=classes, left_out=dict(reasons))


def _hidden(root: Path) -> int:
    """How many files are hidden, or lie in a folder that is."""
    found = (path for path in root.rglob("*") if path.is_file())
    return sum(any(part[0] == "." for part in path.relative_to(root).parts) for path in found)


def _passed_over(path: Path) -> str | None:
    """Why a file is no image to convert; None if it is one, or claims to be."""
    if not path.is_file():  # a pipe would never end
        return "no regular file"
    if not os.access(path, os.R_OK):
        return "not allowed to be read"
    if path.name.upper() == "DICOMDIR":
        return "DICOMDIR (a list of the files)"
    if path.suffix.lower() == ".dcm" or is_dicom(path):
        return None
    return f"not DICOM ({path.suffix.lower() or 'without suffix'})"
