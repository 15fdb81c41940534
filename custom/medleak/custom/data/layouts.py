"""The few forms in which public sets come: folders of a class, a table of labels, named files."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Unpack

from medleak.custom.data.datalist import PATIENT_PATTERN, Item, patient_of
from medleak.custom.data.folders.classes import read_images
from medleak.custom.data.image_files import Search

Layout = Mapping[str, Sequence[str]]
"""Class to the folders, relative to the root, that hold its images."""


class FormError(Exception):
    """A root is not of a set's form; the message goes on after the root's name."""


def class_folders(
    root: Path,
    layouts: Sequence[Layout],
    patient_pattern: str = PATIENT_PATTERN,
    **search: Unpack[Search],
) -> list[Item]:
    """Images by the first of ``layouts`` whose folders all exist; label k is its k-th class.

    ``search`` is as of `image_files.find_images`, here and below.

    Raises:
        FormError: None of them fits.
        DataError: A folder holds no image, or cannot be read.
    """
    for layout in layouts:
        if all((root / folder).is_dir() for folders in layout.values() for folder in folders):
            return [
                replace(
                    item,
                    image=f"{folder}/{item.image}",
                    label=label,
                    patient=patient_of(f"{folder}/{item.image}", patient_pattern),
                )
                for label, folders in enumerate(layout.values())
                for folder in folders
                for item in read_images(root / folder, **search)
            ]
    wanted = {folder for layout in layouts for folders in layout.values() for folder in folders}
    missing = sorted(folder for folder in wanted if not (root / folder).is_dir())
    raise FormError(f"has no folder {' or '.join(map(repr, missing[:3]))}")


def halves(classes: Mapping[str, str], train: str, test: str, within: str = "") -> list[Layout]:
    """Layouts of a set that comes as two halves, as one, and of either below ``within``.

    Args:
        classes: Class name to its folder.
        train: Folder of one half.
        test: Folder of the other.
        within: Folder that the archive unpacks to.
    """
    found: list[Layout] = []
    for above in ("", f"{within}/") if within else ("",):
        found.append({c: (f"{above}{train}/{f}", f"{above}{test}/{f}") for c, f in classes.items()})
        found.append({c: (f"{above}{f}",) for c, f in classes.items()})
    return found


def named_files(root: Path, pattern: str, **search: Unpack[Search]) -> list[Item]:
    """All images below ``root`` whose stem matches ``pattern`` (group 1: patient), as class 0.

    Raises:
        FormError: There is none.
    """
    items = [
        replace(item, patient=match[1])
        for item in read_images(root, may_be_empty=True, **search)
        if (match := re.fullmatch(pattern, PurePosixPath(item.image).stem))
    ]
    if not items:
        raise FormError(f"has no image with a name like {pattern!r}")
    return items


def labelled(
    root: Path,
    table: Path,
    *,
    name: str,
    label: str,
    values: Mapping[str, int],
    **search: Unpack[Search],
) -> list[Item]:
    """Images below ``root`` that a CSV file gives a label, each a patient of its own.

    Args:
        root: Folder of the images, at any depth.
        table: The CSV file.
        name: Its column of file names, with or without suffix.
        label: Its column of labels.
        values: Label in the file to class index.
        search: As of `image_files.find_images`.

    Raises:
        FormError: The table lacks a column, has an unknown label or two of one image, or names none
            of the images; an image is in no row, or two have the name in one.
    """
    rows: dict[str, int] = {}
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            for line, row in enumerate(csv.DictReader(file), start=2):
                if name not in row or label not in row:
                    raise FormError(f"has a {table.name} without the columns {name!r}, {label!r}")
                if row[label] not in values:
                    known = ", ".join(values)
                    raise FormError(
                        f"has a {table.name} with label {row[label]!r} in line {line}, which is "
                        f"none of {known}"
                    )
                stem = PurePosixPath(row[name]).stem
                if rows.setdefault(stem, values[row[label]]) != values[row[label]]:
                    raise FormError(
                        f"has a {table.name} that gives {row[name]!r} another label in line {line}"
                    )
    except (OSError, UnicodeError, csv.Error) as error:
        raise FormError(f"has no readable {table.name} ({error})") from None
    items, seen = [], set[str]()
    for item in read_images(root, may_be_empty=True, **search):
        stem = PurePosixPath(item.image).stem
        if stem in seen:
            raise FormError(f"has two images called {stem!r}, and {table.name} does not tell which")
        seen.add(stem)
        if stem not in rows:
            raise FormError(f"has an image {item.image!r} without a row in {table.name}")
        items.append(replace(item, label=rows[stem], patient=item.image))
    if not items:
        raise FormError(f"has a {table.name} but no image")
    return items
