"""What an audit has found so far, on disk after every case; the only writer of its tables.

A finished case is one line appended to ``journal.jsonl``, so that its cost does not grow with the
audit. results.csv and summary.json are written from time to time and at the end, when the journal
goes away. A kill at any moment leaves whole lines, or a torn last one, which is a case not done.
"""

import dataclasses
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medleak.inversion.audit import other_sites
from medleak.inversion.audit.health import Health
from medleak.inversion.membership.files import Answer, answer_of, read_answers, write_answers
from medleak.inversion.membership.rule import RULE
from medleak.inversion.results.case import Case
from medleak.inversion.results.files import (
    contradictions_in,
    read_config,
    read_left,
    read_refused,
    read_settled,
    write_json,
)
from medleak.inversion.results.rows import Row, read_rows, write_rows
from medleak.inversion.results.summary import summarise

JOURNAL = "journal.jsonl"
HEALTH = "health.json"
# Tables are written again when that took at most this share of the time since.
_SHARE = 0.05


class Journal:
    """The tables of the audit directory ``out``; to be closed, which leaves them complete."""

    def __init__(self, out: Path, cases: Sequence[Case]) -> None:
        """Take up what is there. ``cases`` are those of the plan, and the order of results.csv.

        Raises:
            ValueError: A table is damaged or of another version.
            OSError: The disk refuses a file.
        """
        self._out = out
        self._order = {case: number for number, case in enumerate(cases)}
        self._rows: dict[Case, list[Row]] = {}
        for row in read_rows(out / "results.csv"):
            self._rows.setdefault(row.case, []).append(row)
        self._answers = read_answers(out)
        self._refused = {Case(**r["case"]): r["why"] for r in read_refused(out)}
        self._settled = {Case(**s["case"]): s["why"] for s in read_settled(out)}
        self._planned = dict.fromkeys((*read_left(out), *cases))
        self.health = read_health(out)
        self._wrote = self._cost = 0.0
        if self._take_up():
            self.write()

    @property
    def rows(self) -> list[Row]:
        """All rows, in the plan's order; those of other cases first."""
        cases = sorted(self._rows, key=lambda case: self._order.get(case, -1))
        return [row for case in cases for row in self._rows[case]]

    def found(self, case: Case) -> Sequence[Row]:
        """The rows of ``case``; empty if it is not done."""
        return self._rows.get(case, ())

    def rows_of(self, case: Case) -> Sequence[Row] | None:
        """As `found`; None if it is not done."""
        return self._rows.get(case)

    def answer(self, case: Case) -> Answer | None:
        """Who was in, where ``case`` asks that and is done."""
        return self._answers.get(case)

    def done(self, case: Case) -> bool:
        """Whether ``case`` need not be done again."""
        return case in self._rows or case in self._answers

    def add_answer(self, case: Case, answer: Answer) -> None:
        """As `add`, of a case that asks who was in."""
        self._append({"answer": answer.as_json(case)})
        self._answers[case] = answer
        self._come_to_an_end(case)
        self._write_if_cheap()

    def add(self, case: Case, rows: Sequence[Row]) -> None:
        """Keep the rows of a finished case: when this returns, they outlive a power cut."""
        self._append({"rows": [dataclasses.asdict(row) for row in rows]})
        self._rows[case] = list(rows)
        self._come_to_an_end(case)
        self._write_if_cheap()

    def refuse(self, case: Case, why: str) -> None:
        """Keep why ``case`` could not be attacked, until it is."""
        self._append({"refused": dataclasses.asdict(case), "why": why})
        self._come_to_an_end(case)
        self._refused[case] = why
        self._write_if_cheap()

    def settle(self, cases: Mapping[Case, str]) -> None:
        """Keep why ``cases`` were left out: what they are about is settled without them."""
        self._settled |= cases
        self.write()

    def add_health(self, name: str, health: Health) -> None:
        """Keep what became of an easy case."""
        self.health[name] = health
        final = {k: dataclasses.asdict(h) for k, h in self.health.items() if h.final}
        write_json(self._out / HEALTH, final)

    def close(self) -> None:
        """Leave the tables complete."""
        self.write()

    def finish(self) -> None:
        """Fill in the figures that need all cases."""
        self.write()
        for row in other_sites.finish(self._out):
            self._rows[row.case][row.reconstruction] = row

    def write(self) -> None:
        """Write results.csv and summary.json, and let go of the journal."""
        start = time.monotonic()
        rows = self.rows
        if rows:
            write_rows(self._out / "results.csv", rows)
        if self._answers:
            ordered = sorted(self._answers, key=lambda case: self._order.get(case, -1))
            write_answers(self._out, {case: self._answers[case] for case in ordered}, RULE)
        refused = [{"case": dataclasses.asdict(c), "why": w} for c, w in self._refused.items()]
        health = {name: dataclasses.asdict(h) for name, h in self.health.items()}
        contradicted = contradictions_in(read_config(self._out))
        ended = {*self._refused, *self._settled}
        left = [c for c in self._planned if not self.done(c) and c not in ended]
        summary = summarise(rows, refused, health, contradicted, left)
        summary["settled"] = [
            {"case": dataclasses.asdict(c), "why": w} for c, w in self._settled.items()
        ]
        summary["membership"] = [
            {**dataclasses.asdict(case), **answer.summary} for case, answer in self._answers.items()
        ]
        write_json(self._out / "summary.json", summary)
        (self._out / JOURNAL).unlink(missing_ok=True)
        self._wrote = time.monotonic()
        self._cost = self._wrote - start

    def _come_to_an_end(self, case: Case) -> None:
        self._refused.pop(case, None)
        self._settled.pop(case, None)

    def _write_if_cheap(self) -> None:
        if self._cost <= _SHARE * (time.monotonic() - self._wrote):
            self.write()

    def _append(self, entry: Mapping[str, Any]) -> None:
        with (self._out / JOURNAL).open("ab") as file:
            file.write(json.dumps(entry, allow_nan=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _take_up(self) -> bool:
        """Read the journal of a killed audit; whether there was one."""
        path = self._out / JOURNAL
        if not path.exists():
            return False
        *lines, _ = path.read_bytes().split(b"\n")  # the last is empty, or torn
        for number, line in enumerate(lines, 1):
            try:
                entry = json.loads(line)
                if "rows" in entry:
                    rows = [Row(**row) for row in entry["rows"]]
                    self._rows[rows[0].case] = rows
                    self._come_to_an_end(rows[0].case)
                elif "answer" in entry:
                    case, answer = answer_of(entry["answer"])
                    self._answers[case] = answer
                    self._come_to_an_end(case)
                else:
                    case = Case(**entry["refused"])
                    self._come_to_an_end(case)
                    self._refused[case] = entry["why"]
            except (ValueError, TypeError, KeyError, IndexError) as error:
                raise ValueError(
                    f"{path}, line {number}: {error}. What a killed audit found cannot be read: "
                    "restore the file, remove it to repeat those cases, or choose another --out."
                ) from None
        return True


def is_empty(out: Path) -> bool:
    """Whether the audit directory ``out`` holds no figures: what was tried was refused."""
    found = read_rows(out / "results.csv") or read_answers(out)
    return not found and not (out / JOURNAL).exists()


def forget(out: Path) -> None:
    """Remove what became of the cases, and of the easy cases, of an audit without figures."""
    for name in (HEALTH, "summary.json"):
        (out / name).unlink(missing_ok=True)


def read_health(out: Path) -> dict[str, Health]:
    """What became of the easy cases in the audit directory ``out``, by `health.key`.

    Raises:
        ValueError: The file is damaged.
    """
    path = out / HEALTH
    if not path.exists():
        return {}
    try:
        return {name: Health(**found) for name, found in json.loads(path.read_bytes()).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is damaged ({error}). Remove it, to check the attacks anew."
        ) from None
