"""Images with their class and patient, and the decathlon-style lists that keep them.

What is in a folder is `folders.classes`' to say. A list names files and opens none of them: every
client decodes its own images alone.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from medleak.custom.atomic import write_atomic
from medleak.custom.data.data_error import DataError

__all__ = [
    "DATALIST",
    "PATIENT_PATTERN",
    "SECTIONS",
    "DataError",
    "Datalist",
    "Item",
    "load_datalist",
    "patient_of",
    "read_datalist",
    "save_datalist",
]

# NIH `<patient>_<visit>`, fundus `<patient>_<left|right>`, phantoms `p<patient>_<visit>`.
PATIENT_PATTERN = r"(p?\d+)_(?:\d{1,4}|left|right)"
DATALIST = "datalist.json"
"""In the run directory of a site: its training, validation and test images. It never leaves it."""
SECTIONS = ("training", "validation", "test")
# As MONAI's and NVFlare's examples call it; what else people write is refused with the right name.
_ALIASES = {"testing": "test"}
_RIGHT_NAMES = {
    **dict.fromkeys(("train", "trainset", "tr"), "training"),
    **dict.fromkeys(("val", "valid", "valset", "dev"), "validation"),
    **dict.fromkeys(("tests", "testset", "evaluation", "eval", "holdout"), "test"),
}


@dataclass(frozen=True, slots=True, order=True)
class Item:
    """One image: its file (relative to a data root, or absolute), class index, patient.

    ``mask`` is the file of a segmentation's mask, likewise; empty where there is none.
    """

    image: str
    label: int
    patient: str
    mask: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Datalist:
    """What a datalist holds: the items of each section, and what of it was not read, by reason."""

    lists: dict[str, list[Item]]
    left_out: Mapping[str, int]


def patient_of(image: str, pattern: str = PATIENT_PATTERN) -> str:
    """Patient of the file ``image``: what ``pattern`` finds in its stem, or else the file itself.

    The pattern must match the whole stem; the patient is its group ``patient``, or its first, or
    all. A name that does not match, such as ``ISIC_0000043.jpg``, is a patient of its own.

    Raises:
        DataError: ``pattern`` is not a regular expression.
    """
    try:
        match = re.fullmatch(pattern, PurePath(image).stem)
    except re.error as error:
        raise DataError(
            f"patient_pattern {pattern!r} is not a regular expression ({error}): images cannot be "
            f"split by patient. Use one like {PATIENT_PATTERN!r}."
        ) from None
    if match is None:
        return image
    if "patient" in match.re.groupindex:
        return match["patient"] or image
    return (match[1] if match.re.groups else match[0]) or image


def load_datalist(
    path: str | Path,
    data_root: str | Path | None = None,
    num_classes: int | None = None,
    patient_pattern: str = PATIENT_PATTERN,
) -> dict[str, list[Item]]:
    """Read a decathlon-style datalist: ``{"training": [{"image", "label"}, …], …}``.

    Sections are training, validation and test (or testing); all but the first may be absent. A
    label is an integer or a list of one; an entry's ``"patient"`` and ``"mask"`` are optional. A
    label that is a file name, as decathlon's segmentation tasks have it, is the mask of an image of
    class 0; a test entry without a label, likewise, has nothing to measure and is passed over:
    `read_datalist` counts those.

    Args:
        path: The JSON file; keys other than the sections are passed over, but for lists of images.
        data_root: Folder of relative images. None: the folder of ``path``.
        num_classes: Labels must be below it. None: any label from 0.
        patient_pattern: See `patient_of`; for entries without ``"patient"``.

    Returns:
        Items of training, validation and test (an absent section is empty), with images joined to
        ``data_root``. The images themselves are not opened.

    Raises:
        DataError: The file is missing or no such list, an entry is wrong (named by section and
            position), or images stand under another name than a section's.
    """
    return read_datalist(path, data_root, num_classes, patient_pattern).lists


def read_datalist(
    path: str | Path,
    data_root: str | Path | None = None,
    num_classes: int | None = None,
    patient_pattern: str = PATIENT_PATTERN,
) -> Datalist:
    """As `load_datalist`, with what of the file is in none of the lists."""
    path = Path(path)
    root = path.parent if data_root is None else Path(data_root)
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        what = error.strerror if isinstance(error, OSError) else f"no valid JSON: {error}"
        raise DataError(
            f"Datalist {str(path)!r} cannot be read ({what}): there are no images to use. Write it "
            'as {"training": [{"image": …, "label": 0}], "validation": […]}.'
        ) from None
    if not isinstance(content, dict) or "training" not in content:
        raise DataError(
            f"Datalist {str(path)!r} has no 'training' list: there is nothing to train on. Write "
            'it as {"training": [{"image": …, "label": 0}], "validation": […]}.'
        )
    _refuse_other_sections(path, content)
    lists: dict[str, list[Item]] = {section: [] for section in SECTIONS}
    unlabelled = 0
    for name in (*SECTIONS, *_ALIASES):
        entries = content.get(name, [])
        if not isinstance(entries, list):
            raise DataError(
                f"Datalist {str(path)!r}: {name!r} is {type(entries).__name__}, so it names no "
                "images. Make it a list of entries."
            )
        section = _ALIASES.get(name, name)
        for k, entry in enumerate(entries):
            if section == "test" and _unlabelled(entry):
                unlabelled += 1
                continue
            where = f"Datalist {str(path)!r}: {name}[{k}]"
            lists[section].append(_item(entry, where, root, num_classes, patient_pattern))
    left_out = {"test images without a label": unlabelled} if unlabelled else {}
    return Datalist(lists=lists, left_out=left_out)


def _unlabelled(entry: Any) -> bool:
    """Whether a test entry is an image alone: nothing can be measured on it."""
    if isinstance(entry, dict):
        return isinstance(entry.get("image"), str) and not {"label", "mask"} & set(entry)
    return isinstance(entry, str)


def _refuse_other_sections(path: Path, content: Mapping[str, Any]) -> None:
    """Refuse lists of images under a name that no reader looks for."""
    if content.get("test") and content.get("testing"):
        raise DataError(
            f"Datalist {str(path)!r} has both 'test' and 'testing': which images are to be tested "
            "on is unknown. Join them under 'test'."
        )
    for name, entries in content.items():
        if name in SECTIONS or name in _ALIASES or not isinstance(entries, list):
            continue
        of_images = any(isinstance(entry, dict) and "image" in entry for entry in entries)
        right = _RIGHT_NAMES.get(name.casefold().strip())
        if of_images or (right and entries):
            raise DataError(
                f"Datalist {str(path)!r}: section {name!r} is not read, so its {len(entries)} "
                f"images would be passed over. Call it {right or ', '.join(SECTIONS)}, or take it "
                "out of the list."
            )


def _item(entry: Any, where: str, root: Path, num_classes: int | None, pattern: str) -> Item:
    """The item of one datalist entry, or a DataError that starts with ``where``."""
    image = entry.get("image") if isinstance(entry, dict) else None
    if not isinstance(image, str) or not image or "\0" in image:
        raise DataError(
            f"{where} names no image file: it cannot be loaded. Give every entry an 'image' (a "
            "file name) and a 'label' (a class index)."
        )
    label, mask = entry.get("label"), entry.get("mask", "")
    if isinstance(label, list) and len(label) == 1:
        label = label[0]
    if isinstance(label, str) and PurePath(label).suffix and not mask:
        label, mask = 0, label
    if not isinstance(mask, str) or "\0" in mask:
        raise DataError(
            f"{where} ({image!r}) has mask {mask!r}: it names no file. Give the mask's file name, "
            "or leave it out."
        )
    if not isinstance(label, int) or isinstance(label, bool):
        raise DataError(
            f"{where} ({image!r}) has label {label!r}: a class index is one integer, or a list of "
            "one. Correct the label."
        )
    if label < 0 or (num_classes is not None and label >= num_classes):
        last = "" if num_classes is None else f" to {num_classes - 1}"
        raise DataError(
            f"{where} ({image!r}) has label {label}, out of range: the network has no such output. "
            f"Use class indices from 0{last}."
        )
    patient = entry.get("patient")
    if patient is not None and not isinstance(patient, str | int):
        raise DataError(
            f"{where} ({image!r}) has patient {patient!r}: images could not be kept together by "
            "patient. Give a string or a number, or leave it out."
        )
    joined = str(root / image)
    who = patient_of(joined, pattern) if patient is None else str(patient)
    return Item(joined, label, who, str(root / mask) if mask else "")


def save_datalist(path: str | Path, lists: Mapping[str, Sequence[Item]]) -> None:
    """Write ``lists`` (sections as in `load_datalist`) as a datalist; whole or not at all.

    Raises:
        DataError: A section is none of training, validation, test.
        OSError: The file cannot be written.
    """
    unknown = sorted(set(lists) - set(SECTIONS))
    if unknown:
        raise DataError(
            f"A datalist has no section {unknown[0]!r}: no reader would look for it. Use "
            f"{', '.join(SECTIONS)}."
        )
    content = {
        section: [
            {"image": i.image, "label": i.label, "patient": i.patient}
            | ({"mask": i.mask} if i.mask else {})
            for i in items
        ]
        for section, items in lists.items()
    }
    write_atomic(Path(path), json.dumps(content, indent=1).encode() + b"\n")
