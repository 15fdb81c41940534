"""Find the run that a command is about."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from medleak.custom.record import Manifest

PLACES = ("workspace", "simulator_workspace")

Run = Annotated[
    Path | None,
    typer.Argument(
        metavar="RUN",
        show_default=False,
        help="A simulator workspace, a job's run directory or a records directory; "
        "default: the newest run under workspace/ or simulator_workspace/.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]


def records_of(run: Path | None) -> Path:
    """The records directory of ``run``, by default of the newest run below the current directory.

    Raises:
        ValueError: There is none.
    """
    from medleak.custom.record import RecordError, find_records

    if run is not None:
        if not run.exists():
            raise RecordError(
                f"RUN {str(run)!r} does not exist: there is no record to read. Name a simulator "
                "workspace, a run directory or a records directory."
            )
        return find_records(run)
    found = list(_manifests())
    if not found:
        raise RecordError(
            f"No record under {' or '.join(f'{p}/' for p in PLACES)} here in {Path.cwd()}: there "
            "is no run to take by default. Run a job (nvflare simulator jobs/cxr_clean), or name "
            "RUN."
        )
    return max(found, key=lambda path: path.stat().st_mtime_ns).parent


def default_out(manifest: "Manifest") -> Path:
    """``workspace/audit-<job>-<time of the run>``: each run's own, and the same when repeated."""
    created = re.sub(r"\D", "", manifest.created)[:14]
    job = re.sub(r"[^A-Za-z0-9_.-]+", "-", manifest.job)[:60]
    return Path("workspace") / f"audit-{job}-{created}"


def printable(text: str) -> str:
    """``text`` of a record, which may be a stranger's, without what a terminal would obey."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _manifests() -> Iterator[Path]:
    for place in map(Path, PLACES):
        yield from place.glob("**/records/manifest.json")
        yield from place.glob("*/manifest.json")
