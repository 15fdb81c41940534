"""What an audit knew of its updates, for its results: every value with who said it."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from medleak.custom.record import SCHEDULE, RecordError, UpdateInfo
from medleak.inversion.statement.given import Given
from medleak.inversion.statement.inferred import complete, contradictions


def told(records: Path, given: Given, updates: Iterable[tuple[int, str]]) -> dict[str, Any]:
    """What is known of the run and of each of its ``updates`` (round, site), as JSON has it.

    Returns:
        ``run``: model, task and input, each ``{"value", "source"}``; ``updates``: ``round/site`` to
        the same for the schedule, and ``contradictions`` of it with the update. An update that
        cannot be read is left out: it is refused by name when its turn comes.
    """
    manifest = given.manifest(records)
    run = {
        name: {
            "value": None if v is None else v.model_dump(mode="json"),
            "source": manifest.sources[name],
        }
        for name, v in (
            ("model", manifest.model),
            ("task", manifest.task),
            ("input", manifest.input),
        )
    }
    if given.base is not None:
        digest = hashlib.sha256(given.base.read_bytes()).hexdigest()
        run["base"] = {"value": {"file": given.base.name, "sha256": digest}, "source": "given"}
    found = {}
    for round, site in updates:
        try:
            record = given.record(records, round, site)
        except RecordError:
            continue
        known = _schedule(complete(record).info)
        found[f"{round}/{site}"] = {"schedule": known, "contradictions": contradictions(record)}
    return {"run": run, "updates": found}


def _schedule(info: UpdateInfo) -> Mapping[str, Any]:
    values = info.model_dump(mode="json")
    return {f: {"value": values[f], "source": info.sources[f]} for f in SCHEDULE}
