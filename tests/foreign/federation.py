"""A federation that nobody of medleak wrote, from its exported job to the folder of its run.

The clients in ``apps/`` are in the manner of NVFlare's and MONAI's examples, and import nothing of
medleak.
"""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medleak.custom.record import Record, list_updates, read_record
from tests.inversion.cli.commands import medleak
from tests.jobs.simulation import simulate

APPS = Path(__file__).parent / "apps"


def exported(recipe: Callable[[], Any], folder: Path, apps: Path = APPS) -> Path:
    """Where NVFlare exports the job of ``recipe`` to; the job is a folder in it.

    The recipe is made as a script in the folder ``apps`` makes it.
    """
    with _beside_the_clients(apps):
        recipe().export(str(folder))
    return folder


@contextlib.contextmanager
def _beside_the_clients(apps: Path) -> Iterator[None]:
    """What is imported from ``apps`` is forgotten at the end: an audit finds its own."""
    path = list(sys.path)
    sys.path.insert(0, str(apps))
    try:
        with contextlib.chdir(apps):
            yield
    finally:
        sys.path[:] = path
        forget_networks()


def forget_networks() -> None:
    """Forget what was imported of the clients: each test brings its own."""
    for name in [p.stem for p in APPS.rglob("*.py")]:
        sys.modules.pop(name, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A simulated run, and what attaching to its job had said."""

    said: str
    workspace: Path

    def verified(self, count: int) -> list[tuple[int, str]]:
        """Round and site of the ``count`` recorded updates, all of which are sound."""
        done = medleak("records", "verify", self.workspace)
        assert done.exit_code == 0, done.output
        assert f"{count} of {count} updates are as recorded" in done.stdout
        return list_updates(self.records)

    def listed(self) -> dict[str, Any]:
        """What ``medleak records ls`` knows of the run."""
        return json.loads(medleak("records", "ls", self.workspace, "--json").stdout)

    def record(self, round: int, site: str) -> Record:
        """A recorded update."""
        return read_record(self.records, round, site)

    @property
    def records(self) -> Path:
        """Where the recorder wrote."""
        return self.workspace / "server" / "simulate_job" / "records"


def attached_and_run(job: Path, *options: str, sites: int = 2) -> Run:
    """Attach the recorder to ``job`` and run that; both must end without an error."""
    new = job.parent / "recorded"
    done = medleak("attach", job, "-o", new, *options)
    assert done.exit_code == 0, done.output
    run = simulate(new, job.parent / "workspace", threads=sites, clients=sites)
    assert run.returncode == 0, run.log[-3000:]
    return Run(said=done.stdout, workspace=run.workspace)
