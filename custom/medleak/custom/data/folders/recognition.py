"""Folders that are no classes: a split, masks, patients. Recognised, and refused with what to give.

What `medleak data folder` is told by an option is not guessed at here.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath

from medleak.custom.data.data_error import DataError
from medleak.custom.data.folders import names as said
from medleak.custom.data.image_files import Omit, sub_folders

_MANY, _FEW = 12, 10
"""From so many sub-folders on, with fewer images each, they are taken for patients."""

COMMAND = "`medleak data folder`"


def refuse_other_layouts(
    root: Path,
    classes: Sequence[str],
    *,
    given: bool,
    nested: bool = True,
    leave_out: Omit | None = None,
) -> None:
    """Refuse sub-folders of ``root`` that are not one class each.

    Args:
        root: Folder whose sub-folders are about to be taken for classes.
        classes: Their names.
        given: The user named them, so that only what lies below them is still a guess.
        nested: Whether equal names below several classes mean something: not where they are
            patients, nor in exports of DICOM, where each patient's studies are numbered anew.
        leave_out: As of `image_files.find_images`.

    Raises:
        DataError: They are the parts of a split, images and masks, patients, or hold the same
            sub-folders; the message says which option or folder to give.
    """
    below = {name: sub_folders(root / name, leave_out) for name in classes}
    if not given:
        _refuse_parts(root, below)
        _refuse_kinds(root, below)
        _refuse_patients(root, below)
    _refuse_case(root, classes)
    for name, inner in below.items():
        if masks := [n for n in inner if said.holds_masks(n)]:
            raise DataError(
                f"{_place(root)}: class {name!r} holds a folder {masks[0]!r}: masks would be "
                f"trained on as images of the class. Give {COMMAND} --masks to segment, or "
                f"--leave-out {masks[0]} to classify without them."
            )
    if nested:
        _refuse_shared(root, below)


def refuse_masks(root: Path, images: Iterable[str]) -> None:
    """Refuse ``images``, relative to ``root``, of which one is the mask of another beside it.

    Raises:
        DataError: As `refuse_other_layouts`.
    """
    stems = {PurePosixPath(image).with_suffix("").as_posix() for image in images}
    masks = [s for s in stems if (of := _masked(s)) is not None and of in stems]
    if masks:
        ending = sorted(masks)[0]
        mark = ending[len(_masked(ending) or "") :].rstrip("0123456789")
        raise DataError(
            f"{_place(root)}: {len(masks)} files are masks of the images beside them (such as "
            f"{ending!r}): they would be trained on as images. Give {COMMAND} --leave-out "
            f"'*{mark}*', or put them into masks/ beside images/ and give --masks."
        )


def refuse_patient_folders(root: Path, images: Iterable[str], patients: Iterable[str]) -> None:
    """Refuse images in sub-folders of a class of whom no file name tells the patient.

    A sub-folder may well be a patient, whose images would come to lie in two sites.

    Args:
        root: Only said.
        images: Relative to ``root``, below a class.
        patients: As `datalist.patient_of` tells them: where it found none, the image itself.

    Raises:
        DataError: As `refuse_other_layouts`.
    """
    deep = [
        (PurePosixPath(i), p) for i, p in zip(images, patients, strict=True) if i.count("/") > 1
    ]
    inner = [i for i, p in deep if p == i.as_posix() and not said.holds_images(i.parts[1])]
    if inner and len({i.parts[:2] for i in inner}) > 1:
        raise DataError(
            f"{_place(root)}: classes have sub-folders ({inner[0].parent.as_posix()!r}), and no "
            "file name in them tells a patient: if a sub-folder is a patient, that patient's "
            f"images would come to lie in several sites. Give {COMMAND} --patients folder if it "
            "is, --patients file if each file is a patient of its own, or --patient-pattern."
        )


def _refuse_parts(root: Path, below: dict[str, list[str]]) -> None:
    parts = [name for name in below if said.part_of(name) is not None]
    if not parts and len(below) > 1 and said.are_parts(below):
        parts = list(below)
    if not parts:
        return
    inner = {n for name in parts for n in below[name]}
    if any(said.holds_masks(n) for n in inner):
        what, give = "each with images and masks", "--layout parts --masks"
    elif inner:
        what, give = f"each with the classes {_listed(sorted(inner))}", "--layout parts"
    else:
        what = "with no classes in them"
        give = "--labels FILE (a table of classes), or --layout names (class_0001.png)"
    raise DataError(
        f"{_place(root)}: {_listed(parts)} are parts of a split, {what}: they would become the "
        f"classes, and the network would learn to tell them apart. Give {COMMAND} {give}; it "
        "splits all images anew, by patient. If they are classes: --layout classes."
    )


def _refuse_kinds(root: Path, below: dict[str, list[str]]) -> None:
    masks = [name for name in below if said.holds_masks(name)]
    images = [name for name in below if said.holds_images(name)]
    if not images or len(images) + len(masks) < len(below):
        if masks:
            raise DataError(
                f"{_place(root)}: {_listed(masks)} holds masks: it would become a class. Give "
                f"{COMMAND} --leave-out {masks[0]} to leave it out, or --layout classes if it is "
                "a class."
            )
        return
    if (root / "dataset.json").is_file():
        what, give = "a decathlon set", f"`medleak data check {root / 'dataset.json'}`"
    elif masks:
        what, give = "images and their masks", f"{COMMAND} --masks (folders images/ and masks/)"
    elif tables := sorted(p.name for p in root.iterdir() if p.suffix in (".csv", ".tsv")):
        what, give = "images beside a table", f"{COMMAND} --labels {root / tables[0]}"
    elif below[images[0]]:
        what, give = "one folder of images", f"{COMMAND} {root / images[0]}"
    else:
        what = "one folder of images"
        give = f"{COMMAND} --labels FILE, or {root / images[0]} --layout names (class_0001.png)"
    raise DataError(
        f"{_place(root)}: {_listed([*images, *masks])} say that images are in them, not of which "
        f"class: they would become classes. This looks like {what}: give {give}; or --layout "
        "classes if they are classes."
    )


def _refuse_patients(root: Path, below: dict[str, list[str]]) -> None:
    alike = [name for name in below if said.names_patient(name)]
    few = len(below) >= _MANY and _median(_entries(root / name) for name in below) < _FEW
    if not few and (not alike or len(alike) < max(1, round(0.8 * len(below)))):
        return
    what = "have names like patients'" if alike else "are many, of a few files each"
    raise DataError(
        f"{_place(root)}: its {len(below)} sub-folders {what}: each patient would become a class, "
        f"whose name goes to the server and into records. Give {COMMAND} --labels FILE with "
        "--patients folder (a table of classes), or sort them into one folder a class and give "
        "--patients folder; --layout classes if they are classes."
    )


def _refuse_case(root: Path, classes: Sequence[str]) -> None:
    same = [n for n, k in Counter(name.casefold() for name in classes).items() if k > 1]
    if same:
        twins = [name for name in classes if name.casefold() == same[0]]
        raise DataError(
            f"{_place(root)}: {_listed(twins)} differ in capitals alone: one class would become "
            "two. Join the folders."
        )


def _refuse_shared(root: Path, below: dict[str, list[str]]) -> None:
    count = Counter(n.casefold() for inner in below.values() for n in inner)
    shared = [name for name, k in count.items() if k > 1 and not said.holds_images(name)]
    if not shared:
        return
    raise DataError(
        f"{_place(root)}: {count[shared[0]]} classes have the same sub-folders "
        f"({_listed(sorted(shared))}): which level is the class is a guess. Give {COMMAND} "
        f"--layout parts if {_listed(sorted(below))} are parts of a split and the sub-folders the "
        "classes, --layout classes if they are the classes, --patients folder if the sub-folders "
        "are patients, or --leave-out NAME for what is to be left out."
    )


def _masked(stem: str) -> str | None:
    path = PurePosixPath(stem)
    found = said.masked_stem(path.name)
    return None if found is None else path.with_name(found).as_posix()


def _entries(folder: Path) -> int:
    return sum(1 for _ in islice(folder.rglob("*"), _FEW + 1))


def _median(values: Iterable[int]) -> int:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def _place(root: Path) -> str:
    return f"Folder {str(root)!r}"


def _listed(names: Sequence[str]) -> str:
    shown = [repr(name) for name in names[:3]]
    return ", ".join([*shown, "…"] if len(names) > 3 else shown)
