"""What the audit knew of the updates, and who said it: config.json's `run` and `said`, for a table.

A stranger may have written the file: whatever is of another shape is left out or shown as text,
and no part is longer than can be read.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medleak.inversion.report.texts import short
from medleak.inversion.results.files import contradictions_in

SOURCES = {
    "declared": "declared by the site",
    "given": "given by the auditor",
    "inferred": "inferred from the update",
    "unknown": "not known",
}
"""Who said a value, as `medleak.custom.record` names it, and in words."""

MOST_KINDS = 60
"""Kinds of updates that are shown; config.json has all."""

_MOST_NAMES, _MOST_FIELDS, _MOST_WHYS = 6, 40, 5
_LONGEST_VALUE, _LONGEST_WHY = 120, 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Updates of which the same was known.

    Attributes:
        updates: ``round/site`` of some; ``more``: how many others.
        values: What was known, a text for each of `SOURCES`; None: the update could not be read.
        against: What in these updates contradicts it; ``more_against``: how many others.
    """

    updates: Sequence[str]
    more: int
    values: Sequence[str] | None
    against: Sequence[str]
    more_against: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """Of the run (name, value, who said it), and of its updates, contradicted ones first.

    Attributes:
        left_out: Updates of kinds that are not shown.
        recorded: False: an older audit, which did not write it down.
    """

    run: Sequence[tuple[str, str, str]]
    updates: Sequence[Known]
    left_out: int
    recorded: bool

    @property
    def contradicted(self) -> bool:
        """Whether any update contradicts what was said of it."""
        return any(known.against for known in self.updates)


def said(config: Mapping[str, Any]) -> Said:
    """What ``config`` (of config.json) tells of who said what."""
    run, told = config.get("run"), config.get("said")
    kinds = _kinds(config) if isinstance(told, Mapping) else []
    kinds.sort(key=lambda known: not known.against)
    return Said(
        run=[
            (str(name), *_valued(entry))
            for name, entry in list(run.items() if isinstance(run, Mapping) else ())[:_MOST_FIELDS]
        ],
        updates=kinds[:MOST_KINDS],
        left_out=sum(len(k.updates) + k.more for k in kinds[MOST_KINDS:]),
        recorded=isinstance(run, Mapping) or isinstance(told, Mapping),
    )


def _kinds(config: Mapping[str, Any]) -> list[Known]:
    told, against = config["said"], contradictions_in(config)
    updates = config.get("updates")
    alike: dict[str, list[Any]] = {}
    for update in dict.fromkeys([*told, *(updates if isinstance(updates, Mapping) else ())]):
        entry = told.get(update)
        schedule = entry.get("schedule") if isinstance(entry, Mapping) else None
        whys = against.get(update, [])
        key = json.dumps([schedule, whys], sort_keys=True)
        alike.setdefault(key, [schedule, whys]).append(update)
    return [_known(names, schedule, whys) for schedule, whys, *names in alike.values()]


def _known(names: Sequence[str], schedule: Any, against: Sequence[str]) -> Known:
    return Known(
        updates=[str(name) for name in names[:_MOST_NAMES]],
        more=max(0, len(names) - _MOST_NAMES),
        values=_by_source(schedule) if isinstance(schedule, Mapping) else None,
        against=[short(why, _LONGEST_WHY) for why in against[:_MOST_WHYS]],
        more_against=max(0, len(against) - _MOST_WHYS),
    )


def _by_source(schedule: Mapping[str, Any]) -> list[str]:
    found: dict[str, list[str]] = {source: [] for source in SOURCES}
    for name, entry in list(schedule.items())[:_MOST_FIELDS]:
        value, source = _valued(entry)
        field = short(str(name))
        if source in SOURCES:
            plain = source == "unknown" and value == _NOTHING  # as the column's head says
            found[source].append(field if plain else f"{field} {value}")
        else:  # nobody of whom this version knows: that is no statement
            found["unknown"].append(f"{field} {value} ({source})")
    return ["; ".join(texts) for texts in found.values()]


_NOTHING = "not known"


def _valued(entry: Any) -> tuple[str, str]:
    """A value as text, and who said it."""
    if not isinstance(entry, Mapping):
        entry = {"value": entry}
    value = entry.get("value")
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    source = str(entry.get("source", "source not recorded"))
    return _NOTHING if value is None else short(text, _LONGEST_VALUE), short(source, 40)
