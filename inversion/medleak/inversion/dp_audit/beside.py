"""What canaries say of a run, for its audit directory: dp_audit.json, which the report reads."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from medleak.custom.record import read_manifest
from medleak.inversion.dp_audit.planted import PlantedRun
from medleak.inversion.results.files import read_config, write_json

FILE = "dp_audit.json"


def require_of_this_run(out: Path, records: Path) -> None:
    """Refuse the audit directory of another run.

    Raises:
        ValueError: config.json in ``out`` names another record than ``records``.
    """
    there = read_config(out)
    if there and there.get("record") != read_manifest(records).identity():
        raise ValueError(
            f"{out} is the audit of another run than {records}: its report would not speak of "
            "these canaries. Name the audit of this run, or another --out."
        )


def write(
    out: Path, records: Path, found: Sequence[PlantedRun], not_tested: Mapping[str, str]
) -> None:
    """Write the file, which names its run and the updates that it is about.

    Args:
        out: Audit directory.
        records: Directory that was looked at.
        found: A site each.
        not_tested: Why, by site; an empty name: of all.

    Raises:
        OSError: The disk refuses it.
    """
    out.mkdir(parents=True, exist_ok=True, mode=0o700)
    content = {
        "format_version": 1,
        "record": read_manifest(records).identity(),
        "updates": [f"{round}/{one.site}" for one in found for round in one.rounds],
        "sites": {one.site: one.as_json() for one in found},
        "not_tested": [
            {"what": what, "why": " ".join(why.split())} for what, why in not_tested.items()
        ],
    }
    write_json(out / FILE, content)
