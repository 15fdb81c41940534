"""What the gallery and the CSV of a report hold: one frame a reconstruction, compactly."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from medleak.inversion.audit.panels import PRIOR_PICTURE
from medleak.inversion.images.pictures import sheet_name
from medleak.inversion.report.html.album import Album
from medleak.inversion.report.model import Audit
from medleak.inversion.results.rows import COLUMNS, Row
from medleak.inversion.results.strength import families

Originals = Literal["hidden", "shown", "redacted"]

CSV_COLUMNS = tuple(c for c in COLUMNS if c not in ("picture", "truth_picture"))
"""Columns of results.csv without the file names, which mean nothing outside of its directory."""

MOST_FRAMES = 30_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """The gallery's data.

    Attributes:
        payload: JSON-able; see `gallery`.
        rows: All reconstructions of the audits.
        kept: Those that are in the file, for the gallery and the CSV.
        pictured: Those that have a picture in it; ``originals``: their original.
    """

    payload: Mapping[str, Any]
    rows: int
    kept: int
    pictured: int
    originals: int


def gallery(
    audits: Sequence[Audit], album: Album, originals: Originals, *, pictures: bool = True
) -> Frames:
    """Put the pictures of ``audits`` into ``album``, and describe them.

    Most telling pictures come first, so that an album that is too small keeps those: the best
    reconstruction of each case before its second best, and rounds evenly spread.

    Returns:
        Frames whose ``payload`` holds ``columns``, ``words`` (the texts of a column that its frames
        refer to by place), ``frames`` (a list of values a reconstruction: audit, the columns, the
        places of its picture, its original, its iterations ``[[iteration, place], …]``, and of
        volumes the places of the sheets of picture and original), ``priors`` (a place an audit),
        ``sheets`` (likewise, of volumes: the place of the prior's) and ``stops`` (defences by
        family, ordered by strength).
    """
    add = album.add if pictures else _none
    priors = [add(audit.folder, PRIOR_PICTURE) for audit in audits]
    ordered = _telling_first(audits)
    kept = ordered[:MOST_FRAMES]
    shown: list[tuple[int | None, int | None]] = []
    for which, row in kept:
        folder = audits[which].folder
        truth = None
        if row.truth_picture and originals != "redacted":
            truth = add(folder, row.truth_picture)
        shown.append((add(folder, row.picture), truth))
    strips = [_strips(audit.folder) for audit in audits]
    steps = [
        sorted(
            (number, place)
            for number, name in strips[which].get(Path(row.picture).stem, ())
            if (place := add(audits[which].folder, name)) is not None
        )
        for which, row in kept
    ]
    sheets = [
        _sheet(album, audit.folder, PRIOR_PICTURE, place)
        for audit, place in zip(audits, priors, strict=True)
    ]
    beside = [
        [
            _sheet(album, audits[which].folder, name, place)
            for name, place in zip((row.picture, row.truth_picture), places, strict=True)
        ]
        for (which, row), places in zip(kept, shown, strict=True)
    ]
    encode = _Encoder()
    frames = [
        [which, *encode.row(row), *places, iterations, *more]
        for (which, row), places, iterations, more in zip(kept, shown, steps, beside, strict=True)
    ]
    payload = {
        "columns": list(CSV_COLUMNS),
        "words": encode.words,
        "frames": frames,
        "priors": priors,
        "sheets": sheets,
        "stops": [
            {
                "family": stops[-1].opened,
                "stops": [{"defence": s.defence, "label": s.label} for s in stops],
            }
            for stops in families(row.defence for _, row in ordered).values()
        ],
    }
    pictured, originals_in = (sum(p[k] is not None for p in shown) for k in (0, 1))
    return Frames(
        payload=payload,
        rows=len(ordered),
        kept=len(kept),
        pictured=pictured,
        originals=originals_in,
    )


def _sheet(album: Album, folder: Path, picture: str | None, place: int | None) -> int | None:
    """Place of the planes of the volume in ``picture``, which stands at ``place`` itself."""
    if picture is None or place is None or not (folder / sheet_name(picture)).is_file():
        return None
    return album.add(folder, sheet_name(picture), whole=True)


def spread(values: Sequence[int]) -> list[int]:
    """First, last, then the middle of what is between, and so on: any start is evenly spread."""
    ordered = sorted(set(values))
    if len(ordered) <= 2:
        return ordered
    found, spans = [ordered[0], ordered[-1]], [(0, len(ordered) - 1)]
    while spans:
        low, high = spans.pop(0)
        if high - low < 2:
            continue
        middle = (low + high) // 2
        found.append(ordered[middle])
        spans += [(low, middle), (middle, high)]
    return found


def _telling_first(audits: Sequence[Audit]) -> list[tuple[int, Row]]:
    keyed: list[tuple[tuple[int, int, int], int, Row]] = []
    for which, audit in enumerate(audits):
        place = {r: k for k, r in enumerate(spread([row.round for row in audit.rows]))}
        cases: dict[Any, list[Row]] = {}
        for row in audit.rows:
            cases.setdefault(row.case, []).append(row)
        for number, members in enumerate(cases.values()):
            members.sort(key=lambda r: -1.0 if r.ssim is None else r.ssim, reverse=True)
            for rank, row in enumerate(members):
                keyed.append(((rank, place[row.round], number), which, row))
    keyed.sort(key=lambda k: k[0])
    return [(which, row) for _, which, row in keyed]


def _strips(folder: Path) -> dict[str, list[tuple[int, str]]]:
    """Pictures of attacks under way, ``<picture>_it<NNNN>.png``, by the stem of the last one."""
    found: dict[str, list[tuple[int, str]]] = {}
    for path in (folder / "images").glob("*_it*.png"):
        stem, _, number = path.stem.rpartition("_it")
        if number.isascii() and number.isdecimal():
            found.setdefault(stem, []).append((int(number), f"images/{path.name}"))
    return found


def _none(folder: Path, name: str) -> None:
    del folder, name


class _Encoder:
    """Texts once each: a frame refers to them by place."""

    def __init__(self) -> None:
        self.words: dict[str, list[str]] = {}
        self._places: dict[tuple[str, str], int] = {}

    def row(self, row: Row) -> list[Any]:
        return [self._value(name, getattr(row, name)) for name in CSV_COLUMNS]

    def _value(self, column: str, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        words = self.words.setdefault(column, [])
        place = self._places.setdefault((column, value), len(words))
        if place == len(words):
            words.append(value)
        return place
