"""What the name of a folder or file says it is: a part of a split, masks, a patient, or neither."""

import fnmatch
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

_PARTS = {
    **dict.fromkeys(("train", "training", "trainset", "tr"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "valset", "dev", "va"), "val"),
    **dict.fromkeys(("test", "testing", "testset", "eval", "evaluation", "holdout", "ts"), "test"),
}
_SHORT = {"tr", "va", "ts"}  # parts behind another word alone: imagesTr
_FILLERS = {"set", "data", "dataset", "images", "image", "imgs", "split", "files", "folder"}
_IMAGES = {
    *("image", "images", "img", "imgs", "pic", "pics", "picture", "pictures", "photo", "photos"),
    *("scan", "scans", "slice", "slices", "frame", "frames", "jpeg", "jpegs", "jpg", "jpgs"),
    *("png", "pngs", "tif", "tiff", "dicom", "dicoms", "dcm", "data", "input", "inputs"),
}
_MASKS = {
    *("mask", "masks", "label", "labels", "annotation", "annotations", "seg", "segs"),
    *("segmentation", "segmentations", "groundtruth", "gt", "roi", "rois", "contour", "contours"),
    *("target", "targets", "lungmask", "lungmasks", "overlay", "overlays", "heatmap", "heatmaps"),
}
# Of these a stem may end where the image's own stem stands before it: scan7_mask.png.
_MASK_ENDINGS = {"mask", "masks", "seg", "segmentation", "gt", "groundtruth", "roi", "annotation"}
_KIND = r"(?:patient|pat|subject|subj|sub|person|pid|case|mrn|study|series|exam|session|ses|uid)"
_PATIENTS = (
    re.compile(rf"{_KIND}[-_. ]*[a-z]{{0,2}}[-_. ]*\d+\w*", re.I),  # patient_7, sub-01, caseA12
    re.compile(r"[a-z]{0,4}[-_. ]?\d{4,}([-_. ]\d+)*", re.I),  # 00001234, MRN-4711, p00012_1
    re.compile(r"\d+(\.\d+){3,}"),  # a UID
    re.compile(r"(?=.*\d)[0-9a-f]{8,}(-[0-9a-f]{4,})*", re.I),  # a hash, a UUID
    re.compile(r"\d{1,4}[-_.]\d{1,2}[-_.]\d{1,4}"),  # a date
)


def words(name: str) -> list[str]:
    """The words of ``name`` in lower case; signs, digits and capitals begin a new one."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return re.findall(r"[^\W\d_]+|\d+", apart.casefold())


def part_of(name: str) -> str | None:
    """``train``, ``val`` or ``test`` (or a fold) if ``name`` says that and nothing else."""
    said = words(name)
    parts = {_PARTS[w] for w in said if w in _PARTS and w not in _SHORT}
    rest = [w for w in said if w not in _PARTS and w not in _FILLERS and not w.isdigit()]
    if len(parts) == 1 and not rest:
        return parts.pop()
    if len(said) == 2 and said[0] in ("fold", "split") and said[1].isdigit():
        return f"fold {said[1]}"
    return None


def are_parts(names: Iterable[str]) -> bool:
    """Whether all ``names`` speak of different parts: ``xray_train`` beside ``xray_test``."""
    found = [{_PARTS[w] for w in words(name) if w in _PARTS} for name in names]
    return all(len(f) == 1 for f in found) and len(set[str]().union(*found)) > 1


def holds_images(name: str) -> bool:
    """Whether ``name`` says that images are inside, and not which."""
    return _only(name, _IMAGES)


def holds_masks(name: str) -> bool:
    """Whether ``name`` says that masks of images are inside: masks, labelsTr, lung masks."""
    said = [w for w in words(name) if w not in _PARTS]
    if said and said[-1] in ("masks", "mask", "segmentations", "annotations"):
        return True
    return _only(name, _IMAGES | _MASKS) and any(w in _MASKS for w in said)


def masked_stem(stem: str) -> str | None:
    """The stem of the image whose mask ``stem`` is by its name: ``a`` of ``a_mask_1``."""
    match = re.fullmatch(r"(.*\S)[-_. ]+([^\W\d_]+)(?:[-_. ]?\d{1,2})?", stem)
    if match is None or match[2].casefold() not in _MASK_ENDINGS:
        return None
    return match[1].rstrip("-_. ")


def names_patient(name: str) -> bool:
    """Whether ``name`` looks like that of a patient, a study or a date rather than of a class."""
    return any(pattern.fullmatch(name.strip()) for pattern in _PATIENTS)


def left_out(image: str, patterns: Sequence[str]) -> bool:
    """Whether a part of the path ``image`` fits one of ``patterns``."""
    parts = image.split("/")
    return any(
        fnmatch.fnmatchcase(text, pattern)
        for pattern in patterns
        for text in (image, *parts, parts[-1].rpartition(".")[0])
    )


def leaving_out(root: Path, patterns: Sequence[str]) -> Callable[[Path], bool]:
    """Whether a path below ``root`` is `left_out` by ``patterns``, as a function of the path."""

    def omit(path: Path) -> bool:
        return bool(patterns) and left_out(path.relative_to(root).as_posix(), patterns)

    return omit


def _only(name: str, kinds: set[str]) -> bool:
    """A number says which: label_1 may be a class."""
    said = words(name)
    return any(w in kinds for w in said) and all(w in kinds or w in _PARTS for w in said)
