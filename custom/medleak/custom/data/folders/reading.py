"""A user's folder of images, read as the user says that it is arranged."""

import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from medleak.custom.data.data_error import DataError
from medleak.custom.data.datalist import PATIENT_PATTERN, Item, patient_of
from medleak.custom.data.folders import names as said
from medleak.custom.data.folders.classes import read_folders, read_images
from medleak.custom.data.folders.recognition import refuse_masks
from medleak.custom.data.folders.table import matched, read_table
from medleak.custom.data.image_files import Omit, Search, may_be_image, sub_folders
from medleak.custom.data.masks import read_masked

Layout = Literal["classes", "parts", "names"]
LAYOUTS: Mapping[Layout, str] = {
    "classes": "one sub-folder a class, whatever it is called",
    "parts": "train/, val/, test/ with the same classes in each: all are split anew",
    "names": "the class is the file's name up to a number: normal_0001.png",
}
_EACH_FILE = "each file one"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the user says of a folder; nothing of it is guessed.

    Attributes:
        layout: Key of `LAYOUTS`; None: classes, unless it looks like something else.
        classes: Classes to use, label k is the k-th; None: all, sorted.
        masks: Images come with masks.
        labels: Table of the images' classes.
        columns: As of `table.parse_columns`.
        patients: ``folder``: the sub-folder of a class is a patient; ``file``: each file is one,
            unless the pattern finds a patient in its name; None: the pattern.
        pattern: See `datalist.patient_of`; None: `PATIENT_PATTERN`.
        leave_out: Names, or patterns of names (``*_mask*``), of folders and files to leave out.
        claimed: As of `image_files.find_images`.
    """

    layout: Layout | None = None
    classes: Sequence[str] | None = None
    masks: bool = False
    labels: Path | None = None
    columns: Mapping[str, str] | None = None
    patients: Literal["folder", "file"] | None = None
    pattern: str | None = None
    leave_out: Sequence[str] = ()
    claimed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Items relative to the root, the classes in label order, how patients were told, what is left.

    ``left_out``: reason to number of files that are in none of the items.
    """

    items: list[Item]
    classes: tuple[str, ...]
    patients: str
    left_out: Mapping[str, int]


def read_set(root: Path, told: Told) -> Found:
    """The images of ``root``, arranged as ``told`` says.

    Raises:
        DataError: The folder is not so arranged, or as `classes.read_folders`.
    """
    _refuse_contradictions(told)
    pattern = told.pattern or PATIENT_PATTERN
    why: dict[str, str] = {}
    without = 0
    if told.labels is not None:
        items, classes, by, without = _by_table(root, told, pattern, why)
    elif told.layout == "names":
        items, classes, by = *_by_names(root, told), _how(told)
    elif told.layout == "parts":
        items, classes, by = *_by_parts(root, told, pattern), _how(told)
    elif told.masks:
        items, classes, by = *_masked(root, told, pattern, _search(root, told)), _how(told)
    else:
        listed = read_folders(
            root,
            told.classes,
            pattern,
            told=told.layout == "classes",
            patients_told=_patients_told(told),
            patient_folders=told.patients == "folder",
            **_search(root, told),
        )
        items, classes, by = *listed, _how(told)
    if told.patients is not None and told.labels is None:
        depth = 1 + (told.layout == "parts") + (told.masks and classes != ("all",))
        items = [replace(item, patient=_told_patient(item.image, told, depth)) for item in items]
    unknown = sum(item.patient == item.image for item in items)
    if unknown and by != _EACH_FILE:
        by += f"; {unknown:,} of {len(items):,} tell none and count as one each"
    used = {item.image for item in items} | {item.mask for item in items if item.mask}
    reasons = _left_out(root, used, told, why)
    if without:
        reasons["rows of the table without an image"] = without
    return Found(items=items, classes=classes, patients=by, left_out=dict(reasons))


def _refuse_contradictions(told: Told) -> None:
    if told.labels is not None and (told.masks or told.layout is not None):
        raise DataError(
            "--labels says the class of each image, and so do --layout and --masks: which counts "
            "would be a guess. Give one."
        )
    if told.columns and told.labels is None:
        raise DataError("--columns is about a table: name it by --labels, or leave it out.")
    if told.masks and told.layout == "names":
        raise DataError("--masks needs folders images/ and masks/: leave --layout names out.")
    if told.patients is not None and told.pattern is not None:
        raise DataError(
            "--patients and --patient-pattern both say what a patient is: give one of them."
        )


def _patients_told(told: Told) -> bool:
    return told.patients is not None or told.pattern is not None


def _search(root: Path, told: Told) -> Search:
    """What every reader below ``root`` is told of the files."""
    return {"claimed": told.claimed, "leave_out": said.leaving_out(root, told.leave_out)}


def _how(told: Told) -> str:
    if told.patients == "folder":
        return "by sub-folder"
    if told.patients == "file" or (told.layout == "names" and told.pattern is None):
        return _EACH_FILE
    return "by file name" + (" and --patient-pattern" if told.pattern else "")


def _by_table(
    root: Path, told: Told, pattern: str, why: dict[str, str]
) -> tuple[list[Item], tuple[str, ...], str, int]:
    table = told.labels or Path()
    rows, columns = read_table(table, told.columns)
    images = [item.image for item in read_images(root, **_search(root, told))]
    refuse_masks(root, images)
    if any(said.holds_masks(part) for image in images for part in image.split("/")[:-1]):
        raise DataError(
            f"Folder {str(root)!r} holds masks among its images: they have no class. Give "
            "--leave-out and the name of their folder."
        )
    found, without = matched(images, rows, table)
    labels = {row.label for row in found.values() if row.label}
    classes = tuple(told.classes) if told.classes is not None else _ordered(labels)
    for name in classes:
        if name not in labels:
            raise DataError(
                f"Class {name!r} is in no row of {str(table)!r} that has an image: choose among "
                f"{', '.join(map(repr, _ordered(labels)[:20])) or '(none)'}."
            )
    items = []
    for image, row in sorted(found.items()):
        if row.label not in classes:
            why[image] = "not of --classes" if row.label else "images without a label"
            continue
        if columns.patient and not row.patient:
            raise DataError(
                f"Table {str(table)!r}, line {row.line}: it says no patient, and other lines do. "
                "Fill it in, or give --columns without that column's name."
            )
        patient = row.patient or _told_patient(image, told, 0) or patient_of(image, pattern)
        items.append(Item(image, classes.index(row.label), patient))
    by = f"by the column {columns.patient!r}" if columns.patient else _how(told)
    return items, classes, by, without


def _told_patient(image: str, told: Told, depth: int) -> str:
    """The patient as ``told.patients`` has it, "" without: the folder at ``depth``, or the file."""
    if told.patients is None:
        return ""
    folders = image.split("/")[depth:-1]
    return folders[0] if told.patients == "folder" and folders else image


def _by_names(root: Path, told: Told) -> tuple[list[Item], tuple[str, ...]]:
    named: dict[str, list[str]] = {}
    for item in read_images(root, **_search(root, told)):
        match = re.fullmatch(r"(.*\w)[-_. ]*[-_. (]\d+\)?", PurePosixPath(item.image).stem)
        match = match or re.fullmatch(r"(.*[^\W\d_])\d+", PurePosixPath(item.image).stem)
        name = match[1].rstrip("-_. ") if match else ""
        if not name or re.search(r"\d{3}", name):
            raise DataError(
                f"Image {item.image!r} has no name like class_0001.png, with one number at its "
                "end: its class is unknown. Leave it out by --leave-out, or give --labels FILE."
            )
        named.setdefault(name, []).append(item.image)
    refuse_masks(root, [image for images in named.values() for image in images])
    classes = tuple(told.classes) if told.classes is not None else _ordered(named)
    alone = [name for name in named if len(named[name]) < 2]
    if len({name.casefold() for name in named}) < len(named) or len(named) < 2 or alone:
        raise DataError(
            f"Folder {str(root)!r}: its file names begin with {len(named)} different texts, "
            f"{len(alone)} of them once: they do not say the class. Give --labels FILE."
        )
    for name in classes:
        if name not in named:
            raise DataError(
                f"Class {name!r} is in no file name of {str(root)!r}: choose among "
                f"{', '.join(map(repr, _ordered(named)[:20]))}."
            )
    items = [
        Item(image, label, image if told.pattern is None else patient_of(image, told.pattern))
        for label, name in enumerate(classes)
        for image in sorted(named[name])
    ]
    return items, classes


def _by_parts(root: Path, told: Told, pattern: str) -> tuple[list[Item], tuple[str, ...]]:
    search = _search(root, told)
    inside = _existing(root, search.get("leave_out"))
    parts = [n for n in inside if said.part_of(n) is not None]
    if not parts and len(inside) > 1 and said.are_parts(inside):
        parts = inside
    if not parts:
        raise DataError(
            f"Folder {str(root)!r} has no sub-folder train, val or test: it has no parts. Leave "
            "--layout out, or name another folder."
        )
    if told.masks:
        return _joined(parts, lambda part: _masked(root / part, told, pattern, search))
    found = {name for part in parts for name in sub_folders(root / part, search.get("leave_out"))}
    classes = tuple(told.classes) if told.classes is not None else _ordered(found)
    items: list[Item] = []
    for part in parts:
        inside = sub_folders(root / part, search.get("leave_out"))
        here = [name for name in classes if name in inside]
        if not here:
            raise DataError(
                f"Part {part!r} of {str(root)!r} has none of the classes "
                f"{', '.join(map(repr, classes)) or '(none)'}: it is arranged otherwise. Give "
                "--leave-out for it, or other --classes."
            )
        listed, _ = read_folders(
            root / part,
            here,
            pattern,
            patients_told=_patients_told(told),
            patient_folders=told.patients == "folder",
            **search,
        )
        items += [_below(part, item, classes.index(here[item.label])) for item in listed]
    return items, classes


def _masked(
    root: Path, told: Told, pattern: str, search: Search
) -> tuple[list[Item], tuple[str, ...]]:
    """Images with masks, of one folder or of one pair of folders a class."""
    if (root / "images").is_dir():
        inner = sub_folders(root / "images", search.get("leave_out"))
        if told.layout is None and any(said.part_of(name) for name in inner):
            raise DataError(
                f"Folder {str(root / 'images')!r} has the parts of a split in it: they would "
                "become classes. Arrange it as train/images, train/masks and give --layout parts, "
                "or give --layout classes if they are classes."
            )
        return read_masked(root, told.classes, pattern, **search)
    names = _existing(root, search.get("leave_out"))
    names = list(told.classes) if told.classes is not None else names
    pairs = [n for n in names if all((root / n / k).is_dir() for k in ("images", "masks"))]
    if not pairs or pairs != names:
        # Which says what is missing.
        return read_masked(root, told.classes, pattern, **search)
    if told.layout is None and any(said.part_of(name) for name in names):
        raise DataError(
            f"Folder {str(root)!r}: {', '.join(map(repr, names[:3]))} are parts of a split, each "
            "with images and masks: they would become classes. Give --layout parts too, or "
            "--layout classes if they are classes."
        )
    items: list[Item] = []
    for label, name in enumerate(names):
        listed, _ = read_masked(root / name, None, pattern, **search)
        items += [_below(name, item, label) for item in listed]
    return items, tuple(names)


def _joined(
    parts: Sequence[str], read: Callable[[str], tuple[list[Item], tuple[str, ...]]]
) -> tuple[list[Item], tuple[str, ...]]:
    found = {part: read(part) for part in parts}
    classes = _ordered({name for _, names in found.values() for name in names})
    items = [
        _below(part, item, classes.index(names[item.label]))
        for part, (listed, names) in found.items()
        for item in listed
    ]
    return items, classes


def _below(folder: str, item: Item, label: int) -> Item:
    """``item`` of the sub-folder ``folder``; a patient that is the file itself stays that."""
    image = f"{folder}/{item.image}"
    own = item.patient == item.image or item.patient.endswith(f"/{item.image}")
    return replace(
        item,
        image=image,
        label=label,
        patient=image if own else item.patient,
        mask=f"{folder}/{item.mask}" if item.mask else "",
    )


def _ordered(names: Collection[str]) -> tuple[str, ...]:
    """``names`` sorted, numbers as such: 2 before 10."""
    if all(name.isdecimal() for name in names):
        return tuple(sorted(names, key=int))
    return tuple(sorted(names))


def _existing(root: Path, leave_out: Omit | None) -> list[str]:
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise DataError(f"Folder {str(root)!r} {what}: there are no images to read. Name another.")
    return sub_folders(root, leave_out)


def _left_out(
    root: Path, used: Collection[str], told: Told, known: Mapping[str, str]
) -> Counter[str]:
    """How many files below ``root`` are in none of ``used``, by reason; ``known`` by the reader."""
    reasons: Counter[str] = Counter()
    for folder, _, files in os.walk(root):
        for name in files:
            image = (Path(folder) / name).relative_to(root).as_posix()
            if image not in used:
                reasons[known.get(image) or _why(root, image, told)] += 1
    return reasons


def _why(root: Path, image: str, told: Told) -> str:
    parts = image.split("/")
    if any(part.startswith(".") for part in parts):
        return "hidden"
    if said.left_out(image, told.leave_out):
        return "left out by --leave-out"
    if told.labels is not None and (root / image).resolve() == told.labels.resolve():
        return "the table itself"
    if not may_be_image(root / image):
        return f"no image ({PurePosixPath(image).suffix.lower() or 'without suffix'})"
    if told.labels is not None:
        return "images in no row of the table"
    if told.masks and any(said.holds_masks(part) for part in parts[:-1]):
        return "masks without an image"
    if told.layout != "names" and len(parts) <= (2 if told.layout == "parts" else 1):
        return "images beside the folders"
    return "not of --classes" if told.classes is not None else "images in other folders"
