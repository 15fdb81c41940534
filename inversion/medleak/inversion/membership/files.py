"""membership.json and membership.csv: who was in which update, by case."""

import csv
import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medleak.custom.atomic import write_atomic
from medleak.inversion.results.case import Case
from medleak.inversion.results.files import write_json

FILE, TABLE = "membership.json", "membership.csv"
FORMAT_VERSION = 1
CANDIDATE = ("candidate", "patient", "value", "p", "patient_p", "member")
"""Columns of the table beside those of the case: place in the list, number of the patient, score
in standard deviations above certain non-members, conformal p-values, and whether it was in."""


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What was found for one case.

    Attributes:
        summary: Figures with intervals and the verdict, as
            `medleak.inversion.membership.answer.Assessed.summary` has them.
        candidates: A mapping a candidate, of `CANDIDATE`.
    """

    summary: Mapping[str, Any]
    candidates: Sequence[Mapping[str, Any]]

    @classmethod
    def of(cls, summary: Mapping[str, Any], candidates: Sequence[Mapping[str, Any]]) -> "Answer":
        """Without what each candidate says of the case, which stands once."""
        return cls(summary, [{name: row[name] for name in CANDIDATE} for row in candidates])

    def as_json(self, case: Case) -> dict[str, Any]:
        """For a file."""
        columns = {name: [row[name] for row in self.candidates] for name in CANDIDATE}
        return {"case": dataclasses.asdict(case), **self.summary, "table": columns}


def answer_of(entry: Mapping[str, Any]) -> tuple[Case, Answer]:
    """What `Answer.as_json` wrote.

    Raises:
        ValueError, TypeError, KeyError: It did not.
    """
    summary = {k: v for k, v in entry.items() if k not in ("case", "table")}
    table = entry["table"]
    lines = zip(*(table[name] for name in CANDIDATE), strict=True)
    return Case(**entry["case"]), Answer(
        summary, [dict(zip(CANDIDATE, line, strict=True)) for line in lines]
    )


def read_answers(out: Path) -> dict[Case, Answer]:
    """The answers of an audit directory; none if membership was never asked about.

    Raises:
        ValueError: The file is damaged, or of another version.
    """
    path = out / FILE
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_bytes())
        if content["format_version"] != FORMAT_VERSION:
            raise ValueError(f"its format version is {content['format_version']!r}")
        return dict(map(answer_of, content["cases"]))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{path} cannot be read ({error}): who was in could not be told. Restore the file, or "
            "remove it to ask anew."
        ) from None


def write_answers(out: Path, answers: Mapping[Case, Answer], rule: str) -> None:
    """Write both files; ``rule``: how verdicts were made.

    Raises:
        OSError: The disk refuses one; the old one stays.
    """
    cases = [answer.as_json(case) for case, answer in answers.items()]
    write_json(out / FILE, {"format_version": FORMAT_VERSION, "rule": rule, "cases": cases})
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    of_case = [f.name for f in dataclasses.fields(Case)]
    writer.writerow([*of_case, *CANDIDATE])
    for case, answer in answers.items():
        head = dataclasses.astuple(case)
        writer.writerows([*head, *(row[c] for c in CANDIDATE)] for row in answer.candidates)
    write_atomic(out / TABLE, text.getvalue().encode())
