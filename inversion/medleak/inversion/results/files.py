"""The JSON files of an audit directory."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medleak.custom.atomic import write_atomic
from medleak.inversion.results.case import Case


def read_refused(out: Path) -> list[dict[str, Any]]:
    """What an earlier run of the audit in ``out`` refused: ``{"case", "why"}`` each."""
    path = out / "summary.json"
    return json.loads(path.read_bytes())["refused"] if path.exists() else []


def read_settled(out: Path) -> list[dict[str, Any]]:
    """The cases that the audit in ``out`` left out, as it was settled: ``{"case", "why"}`` each."""
    path = out / "summary.json"
    return json.loads(path.read_bytes()).get("settled", []) if path.exists() else []


def read_left(out: Path) -> list[Case]:
    """The cases that an earlier run of the audit in ``out`` set out to do and did not."""
    path = out / "summary.json"
    left = json.loads(path.read_bytes()).get("left", []) if path.exists() else []
    return [Case(**case) for case in left]


def read_config(out: Path) -> dict[str, Any]:
    """config.json of the audit in ``out``; empty before there is one."""
    path = out / "config.json"
    return json.loads(path.read_bytes()) if path.exists() else {}


def contradictions_in(config: Mapping[str, Any]) -> dict[str, list[str]]:
    """``round/site`` to what in that update contradicts what was said of it, by ``config``.

    Of a config that was damaged or is of an older version, what can be read.
    """
    said = config.get("said")
    entries = said.items() if isinstance(said, Mapping) else ()
    return {
        update: [str(why) for why in entry["contradictions"]]
        for update, entry in entries
        if isinstance(entry, Mapping) and isinstance(entry.get("contradictions"), list | tuple)
    }


def contradictions_of(
    cases: Iterable[Case], contradicted: Mapping[str, Sequence[str]]
) -> list[str]:
    """Those of ``contradicted`` (``round/site`` to why) that ``cases`` looked at, each once.

    An attack that joins rounds was told something false if it was of any of them.
    """
    known: dict[tuple[int, str], list[str]] = {}
    for update, whys in contradicted.items():
        round, _, site = update.partition("/")
        if round.isdecimal():
            known.setdefault((int(round), site), []).extend(whys)
    seen = dict.fromkeys(update for case in cases for update in case.seen(known))
    return list(dict.fromkeys(why for update in seen for why in known[update]))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``content`` as JSON, whole or not at all; NaN and infinity are refused."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    write_atomic(path, text.encode() + b"\n")
