"""A table of labels beside images: which columns say what, and which row is of which image."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from medleak.custom.data.data_error import DataError

_KNOWN = {
    "image": {
        *("image", "images", "imageid", "imagename", "imagefile", "imagepath", "imageindex"),
        *("img", "imgname", "file", "filename", "filepath", "fname", "path", "name"),
    },
    "label": {
        *("label", "labels", "class", "classname", "category", "diagnosis", "finding", "findings"),
        *("findinglabels", "target", "disease"),
    },
    "patient": {
        *("patient", "patientid", "patientidentifier", "subject", "subjectid", "pid", "case"),
        *("caseid", "person", "personid"),
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Columns of the table by their names; ``patient`` "" where no column says the patient."""

    image: str
    label: str
    patient: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """What a table says of one image; ``line`` is where in the file."""

    label: str
    patient: str
    line: int


def parse_columns(text: str) -> dict[str, str]:
    """``image=A,label=B,patient=C`` as a mapping; any of the three may be left out.

    Raises:
        DataError: It is no such text.
    """
    found: dict[str, str] = {}
    for part in text.split(","):
        key, _, name = part.partition("=")
        if key.strip() not in _KNOWN or not name.strip() or key.strip() in found:
            raise DataError(
                f"--columns {text!r} cannot be understood: which column says what is unknown. "
                "Write image=NAME,label=NAME, and patient=NAME where a column says it."
            )
        found[key.strip()] = name.strip()
    return found


def read_table(
    table: Path, given: Mapping[str, str] | None = None
) -> tuple[dict[str, Labelled], Columns]:
    """The rows of ``table`` (CSV or TSV) by the name of the image in them.

    Args:
        table: Its first line names the columns.
        given: As of `parse_columns`; what it leaves out is recognised by usual names.

    Raises:
        DataError: It cannot be read, a column is missing or not the only one of its kind, a row is
            short, or two rows say different things of one image.
    """
    header, rows = _read(table)
    columns = _columns(table, header, given or {})
    found: dict[str, Labelled] = {}
    for line, row in rows:
        if len(row) != len(header):
            raise DataError(
                f"Table {str(table)!r}, line {line}: it has {len(row)} values for {len(header)} "
                "columns, so which is the label is unknown. Mend the line."
            )
        cells = dict(zip(header, (cell.strip() for cell in row), strict=True))
        name = PurePosixPath(cells[columns.image].replace("\\", "/")).as_posix()
        patient = cells[columns.patient] if columns.patient else ""
        said = Labelled(label=cells[columns.label], patient=patient, line=line)
        before = found.setdefault(name, said)
        if (before.label, before.patient) != (said.label, said.patient):
            raise DataError(
                f"Table {str(table)!r} speaks of one image in line {before.line} and, otherwise, "
                f"in line {line}: which is right is unknown. Keep one line an image."
            )
    if not found:
        raise DataError(f"Table {str(table)!r} has no row: no image has a class. Name another.")
    return found, columns


def matched(
    images: Sequence[str], rows: Mapping[str, Labelled], table: Path
) -> tuple[dict[str, Labelled], int]:
    """The row of each image that has one, and the number of rows without an image.

    A row may name an image by its path below the folder, its file name, or that without suffix.

    Raises:
        DataError: A row fits two images, or none fits any.
    """
    by_name: dict[str, list[str]] = {}
    for image in images:
        path = PurePosixPath(image)
        for name in {image, path.name, path.stem, path.with_suffix("").as_posix()}:
            by_name.setdefault(name, []).append(image)
    found: dict[str, Labelled] = {}
    without = 0
    for name, row in rows.items():
        fits = by_name.get(name) or by_name.get(PurePosixPath(name).name) or []
        if len(fits) > 1:
            raise DataError(
                f"Table {str(table)!r}, line {row.line}: {len(fits)} images have the name in it, "
                "so which is meant is unknown. Write paths below the folder into the table."
            )
        if fits:
            found[fits[0]] = row
        without += not fits
    if not found:
        raise DataError(
            f"Table {str(table)!r} names none of the {len(images)} images: no image has a class. "
            "Name the folder that its names are relative to, or the right column by --columns."
        )
    return found, without


def _read(table: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            file.seek(0)
            delimiter = max(",;\t", key=first.count)
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            header = [name.strip() for name in next(reader, [])]
            rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except (OSError, UnicodeError, csv.Error) as error:
        what = getattr(error, "strerror", None) or " ".join(str(error).split())[:100]
        raise DataError(
            f"Table {str(table)!r} cannot be read ({what}): no image has a class. Export it as "
            "CSV in UTF-8."
        ) from None
    return header, rows


def _columns(table: Path, header: list[str], given: Mapping[str, str]) -> Columns:
    chosen: dict[str, str] = {}
    for kind, usual in _KNOWN.items():
        if kind in given:
            fits = [name for name in header if name == given[kind]]
        else:
            fits = [name for name in header if re.sub(r"[\W_]", "", name).casefold() in usual]
        if len(fits) == 1:
            chosen[kind] = fits[0]
        elif fits or kind in given or kind != "patient":
            what = "no column" if not fits else f"{len(fits)} columns"
            raise DataError(
                f"Table {str(table)!r} has {what} that could be the {kind}'s: its columns are "
                f"{', '.join(map(repr, header[:20]))}. Name it by --columns {kind}=NAME."
            )
    return Columns(**chosen)
