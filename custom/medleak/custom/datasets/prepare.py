"""From images to one datalist a site, and back: the folder that ``medleak data`` writes.

``dataset.json`` says what was prepared, ``<site>.json`` names each site's images. The latter name
files, and so may name patients: they stay on the machine that holds the images.
"""

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from medleak.custom.atomic import whole_folder, write_atomic
from medleak.custom.data.datalist import DataError, Item, load_datalist, save_datalist
from medleak.custom.datasets.dataset import count
from medleak.custom.sites.split import (
    TMI_TABLE_II,
    Site,
    format_table,
    largest_scale,
    scaled,
    split,
)

DESCRIPTION = "dataset.json"
PUBLIC = "public.json"
FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What the images are, as ``dataset.json`` keeps it.

    Attributes:
        name: Of the set, or of the folder.
        modality: As of the phantoms, or "".
        classes: Label k is the k-th.
        channels: 1 for gray, 3 for RGB, None where it was not looked at.
        source: Where the images came from, or "".
        licence: Of the images, or "".
        broken: Images that were left out since they cannot be read.
    """

    name: str
    classes: tuple[str, ...]
    modality: str = ""
    channels: int | None = None
    source: str = ""
    licence: str = ""
    broken: int = 0


def prepare(
    items: Sequence[Item],
    root: Path,
    out: Path,
    content: Content,
    *,
    table: Sequence[Site] = TMI_TABLE_II,
    scale: float | None = None,
    seed: int = 0,
    test: int | None = None,
    published_test: int | None = None,
    into: Path | None = None,
) -> dict[str, Any]:
    """Split ``items`` over the sites of ``table`` by patient and write their lists to ``out``.

    Equal arguments write equal files. Each site gets the table's numbers (times the scale), as even
    over the classes as they allow; all get the same test list, of patients that no site has.

    Args:
        items: Images relative to ``root``.
        root: Their folder; the lists name images by their absolute paths.
        out: Folder to write to; made if missing.
        content: What the images are.
        table: Sites, by default TMI Table II.
        scale: Share of the table's numbers; None: the largest up to 1 that the images allow.
        seed: Of the split.
        test: Images of the test list at most; None: as many as the largest validation list, or
            ``published_test`` where that is more.
        published_test: Images of the paper's test list, which shrinks with the scale.
        into: Where the caller gathers what becomes ``out`` (`atomic.whole_folder`), with the images
            below it; None: all lists appear in ``out``, or none.

    Returns:
        What was written to ``dataset.json``.

    Raises:
        DataError: The images do not suffice, or ``out`` holds the lists of other images.
        OSError: ``out`` cannot be written.
    """
    if scale is None:
        scale = largest_scale(table, items, seed)
    sites = scaled(table, scale, len(content.classes))
    dealt = split(items, sites, seed)
    most = max(int((published_test or 0) * scale), *(site.validation for site in sites))
    kept = _even(dealt.test, most if test is None else test)
    description = _description(items, content) | {
        "seed": seed,
        "scale": scale,
        "table": format_table(sites),
        "sites": {
            name: {section: len(part) for section, part in lists.items()}
            for name, lists in dealt.sites.items()
        },
        "test": len(kept),
    }
    _claim(out, description)
    with nullcontext(into) if into else whole_folder(out, last=DESCRIPTION) as part:
        for name, lists in dealt.sites.items():
            save_datalist(part / f"{name}.json", _absolute({**lists, "test": kept}, root))
        _describe(part, description)
    return description


def choose(items: Sequence[Item], limit: int | None, seed: int = 0) -> list[Item]:
    """``items`` by name, or ``limit`` of them drawn by ``seed``; the same in any order of them."""
    ordered = sorted(items)
    if limit is None or limit >= len(ordered):
        return ordered
    picked = np.random.default_rng(seed).permutation(len(ordered))[:limit]
    return [ordered[k] for k in sorted(picked)]


def prepare_public(
    items: Sequence[Item],
    root: Path,
    out: Path,
    content: Content,
    *,
    seed: int = 0,
    into: Path | None = None,
) -> dict[str, Any]:
    """Write the list of public images that ``medleak prior --data OUT/public.json`` averages.

    Args:
        items: Images relative to ``root``, as `choose` took them.
        root: Their folder.
        out: Folder to write to; made if missing.
        content: What the images are.
        seed: By which they were chosen.
        into: As of `prepare`.

    Returns:
        What was written to ``dataset.json``.

    Raises:
        DataError: ``out`` holds the lists of other images.
    """
    description = _description(items, content) | {"seed": seed, "public": len(items)}
    _claim(out, description)
    with nullcontext(into) if into else whole_folder(out, last=DESCRIPTION) as part:
        save_datalist(part / PUBLIC, _absolute({"training": items}, root))
        _describe(part, description)
    return description


def prepared_lists(out: Path, site: str, classes: Sequence[str]) -> dict[str, list[Item]] | None:
    """The lists of ``site`` that `prepare` wrote to ``out``, or None where it wrote nothing.

    Raises:
        DataError: ``out`` was prepared with other classes or has nothing for ``site``.
    """
    path = out / DESCRIPTION
    if not path.is_file():
        return None
    found = tuple(_read(path).get("classes", ()))
    if found != tuple(classes):
        raise DataError(
            f"{str(out)!r} was prepared with the classes {list(found)}, the job has "
            f"{list(classes)}: labels would mean something else. Give the job these classes."
        )
    lists = out / f"{site}.json"
    if not lists.is_file():
        raise DataError(
            f"{str(out)!r} has no {site}.json: there are no images for this site. Prepare it with "
            "a table that names the site, or run the sites that it has."
        )
    return load_datalist(lists, num_classes=len(classes))


def lists_in(folder: Path) -> list[Path]:
    """Every list of ``folder``: all that `prepare` wrote there, else its JSON files, by name.

    A decathlon's ``dataset.json`` is a list itself.

    Raises:
        DataError: There is none, or one that was written is gone.
    """
    if _is_described(folder):
        sites = _read(folder / DESCRIPTION).get("sites")
        found = [folder / PUBLIC] if sites is None else [folder / f"{site}.json" for site in sites]
    else:
        found = sorted(folder.glob("*.json"))
    if not found:
        raise DataError(f"{str(folder)!r} holds no list: name the folder that has them.")
    if gone := [path.name for path in found if not path.is_file()]:
        raise DataError(
            f"{str(folder)!r} lacks {', '.join(gone)}, which its {DESCRIPTION} names: the lists "
            "are not whole. Prepare the data anew in another folder."
        )
    return found


def check_patients(lists: Mapping[str, Mapping[str, Sequence[Item]]]) -> None:
    """Check that no patient, and no image, is in two sites' lists, nor in two sections of one site.

    Test lists may be shared among sites, and a site may share training images with another only
    where it shares its validation list too, as TMI's high-risk client does. An image is known by
    its file, whatever an entry calls it or its patient.

    Args:
        lists: Site to section to items.

    Raises:
        DataError: The first patient or image that is, by the place of one of its images; or an
            image that two entries give different labels.
    """
    patients: dict[str, _Place] = {}
    files: dict[str, _Place] = {}
    for site, sections in lists.items():
        for section, items in sections.items():
            for k, item in enumerate(items):
                here = _Place(site, section, k, item.label)
                patient = patients.setdefault(item.patient, here)
                file = files.setdefault(os.path.realpath(item.image), here)
                if not _apart(patient, site, section, lists):
                    raise _known_there(here, patient, "of the same patient as")
                if not _apart(file, site, section, lists):
                    raise _known_there(here, file, "the same image as")
                if file.label != item.label:
                    raise DataError(
                        f"{here} is the same image as {file} and has another label: which is right "
                        "is unknown. Keep one entry an image."
                    )


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an image was seen first, and with which label."""

    site: str
    section: str
    k: int
    label: int

    def __str__(self) -> str:
        return f"{self.site}: {self.section}[{self.k}]"


def _known_there(here: _Place, there: _Place, what: str) -> DataError:
    return DataError(
        f"{here} is {what} {there}: what one learns there is known here, so results would flatter. "
        "Keep all images of a patient in one list of one site, or give each entry the right "
        "'patient'."
    )


def _apart(
    first: _Place,
    site: str,
    section: str,
    lists: Mapping[str, Mapping[str, Sequence[Item]]],
) -> bool:
    """Whether an image in ``section`` of ``site`` may be of what was first seen in ``first``."""
    if section != first.section:
        return False
    if site == first.site or section == "test":
        return True
    shared = (lists[name].get("validation", []) for name in (site, first.site))
    here, there = (sorted(item.image for item in items) for items in shared)
    return bool(here) and here == there


def _even(items: Sequence[Item], most: int) -> list[Item]:
    """Up to ``most`` of ``items``, as even over the classes as they allow, in their order."""
    left: Counter[int] = Counter(item.label for item in items)
    take: Counter[int] = Counter()
    while take.total() < most and any(left.values()):
        for label in sorted(left):
            if left[label] and take.total() < most:
                left[label] -= 1
                take[label] += 1
    kept = []
    for item in items:
        if take[item.label]:
            take[item.label] -= 1
            kept.append(item)
    return kept


def _description(items: Sequence[Item], content: Content) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "name": content.name,
        "modality": content.modality,
        "classes": list(content.classes),
        "channels": content.channels,
        "source": content.source,
        "licence": content.licence,
        "images": count(items, content.classes),
        "patients": len({item.patient for item in items}),
        "masks": any(item.mask for item in items),
    } | ({"broken": content.broken} if content.broken else {})


def _claim(out: Path, description: Mapping[str, Any]) -> None:
    """Refuse a folder with lists of something else: some of them would stay behind."""
    path = out / DESCRIPTION
    if path.is_file() and _read(path) != description:
        raise DataError(
            f"{str(out)!r} holds lists of other images or settings: old ones would stay among the "
            "new. Name another folder by --out, or remove that one."
        )


def _is_described(folder: Path) -> bool:
    try:
        content = json.loads((folder / DESCRIPTION).read_bytes())
    except (OSError, ValueError):  # as a list it will be refused in words of its own
        return False
    return isinstance(content, dict) and "format_version" in content


def _describe(out: Path, description: Mapping[str, Any]) -> None:
    """Written last: a folder with it has all lists."""
    write_atomic(out / DESCRIPTION, json.dumps(description, indent=1).encode() + b"\n")


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(
            f"{str(path)!r} cannot be read ({error}): what its folder holds is unknown. Prepare "
            "the data anew in another folder."
        ) from None
    if not isinstance(content, dict) or content.get("format_version") != FORMAT_VERSION:
        raise DataError(
            f"{str(path)!r} is no description of format version {FORMAT_VERSION}: what its folder "
            "holds is unknown. Prepare the data anew in another folder."
        )
    return content


def _absolute(lists: Mapping[str, Sequence[Item]], root: Path) -> dict[str, list[Item]]:
    base = root.resolve()
    return {
        section: [
            replace(
                item, image=str(base / item.image), mask=str(base / item.mask) if item.mask else ""
            )
            for item in items
        ]
        for section, items in lists.items()
    }
