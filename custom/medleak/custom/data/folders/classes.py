"""Folders of images: one sub-folder a class, or all images in and below a folder.

Listing reads names and file headers only (`image_files`); decoding is apart from it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from medleak.custom.data.data_error import DataError
from medleak.custom.data.datalist import PATIENT_PATTERN, Item, patient_of
from medleak.custom.data.folders.recognition import (
    refuse_masks,
    refuse_other_layouts,
    refuse_patient_folders,
)
from medleak.custom.data.image_files import IMAGE_KINDS, Search, find_images, sub_folders


def read_folders(
    data_root: str | Path,
    classes: Sequence[str] | None = None,
    patient_pattern: str = PATIENT_PATTERN,
    *,
    told: bool = False,
    patients_told: bool = False,
    patient_folders: bool = False,
    **search: Unpack[Search],
) -> tuple[list[Item], tuple[str, ...]]:
    """The images of a folder-per-class set, sorted by name, and the class names in label order.

    A class folder may have sub-folders. What is an image is told by its first bytes, whatever it is
    called; hidden files and files that neither are nor claim to be images are passed over. What
    looks like another arrangement (the parts of a split, masks, patients) is refused.

    Args:
        data_root: Folder with one sub-folder a class.
        classes: Class folders to use; label k is the k-th of them. None: all, sorted.
        patient_pattern: See `datalist.patient_of`.
        told: The user says that each sub-folder is a class, whatever it looks like.
        patients_told: The user says what a patient is, so that sub-folders of classes are none.
        patient_folders: They are patients, some of whom may be of two classes.
        search: As of `image_files.find_images`.

    Returns:
        Items, images relative to ``data_root`` with forward slashes, and the class names.

    Raises:
        DataError: The root or a class is missing or empty, a file with an image's suffix holds no
            image, a folder links back into itself, something cannot be read, or as
            `folders.recognition.refuse_other_layouts`.
    """
    root = Path(data_root)
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise DataError(
            f"data_root {str(root)!r} {what}: there are no images to read. Name a folder with one "
            "sub-folder a class."
        )
    leave_out = search.get("leave_out")
    found = sub_folders(root, leave_out)
    names = tuple(found if classes is None else classes)
    if not names:
        raise DataError(
            f"data_root {str(root)!r} has no sub-folder: a class is one sub-folder of images, and "
            "there is none. Put the images into one folder a class, or give `medleak data folder` "
            "--labels FILE (a table of classes) or --layout names (class_0001.png)."
        )
    for name in names:
        if name not in found or names.count(name) > 1:
            what = "is named twice" if name in found else "has no folder, or is left out,"
            raise DataError(
                f"Class {name!r} {what} in {str(root)!r}: its label would mean nothing. Choose "
                f"different classes among {', '.join(map(repr, found)) or '(none)'}."
            )
    if not told:
        refuse_other_layouts(
            root, names, given=classes is not None, nested=not patient_folders, leave_out=leave_out
        )
    items = []
    for label, name in enumerate(names):
        paths = find_images(root / name, **search)
        images = sorted(path.relative_to(root).as_posix() for path in paths)
        if not images:
            raise DataError(
                f"Class {name!r} in {str(root)!r} holds no image ({IMAGE_KINDS}): nothing can be "
                "learnt about it. Add images or leave the class out; convert DICOM files by "
                "`medleak data dicom` first."
            )
        items += [Item(image, label, patient_of(image, patient_pattern)) for image in images]
    images = [item.image for item in items]
    if not told:
        refuse_masks(root, images)
    if not patients_told:
        refuse_patient_folders(root, images, [item.patient for item in items])
    return items, names


def read_images(
    folder: str | Path,
    patient_pattern: str = PATIENT_PATTERN,
    *,
    may_be_empty: bool = False,
    **search: Unpack[Search],
) -> list[Item]:
    """All images in and below ``folder``, sorted by name, of class 0 and relative to it.

    ``search`` is as of `image_files.find_images`.

    Raises:
        DataError: It is no folder or holds no image, or as `read_folders`.
    """
    root = Path(folder)
    paths = find_images(root, **search)
    found = sorted(path.relative_to(root).as_posix() for path in paths)
    if not found and not may_be_empty:
        raise DataError(
            f"Folder {str(root)!r} holds no image ({IMAGE_KINDS}): there is nothing to use. Name "
            "another folder."
        )
    return [Item(image, 0, patient_of(image, patient_pattern)) for image in found]
