"""Run a job in NVFlare's simulator from a test, with an end."""

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.places import ROOT

BIN = Path(sys.executable).parent
TIMEOUT = 280  # seconds; the simulator waits for ever for a client that died


@dataclass(frozen=True, slots=True)
class Simulation:
    """What is left of a run."""

    workspace: Path
    returncode: int
    log: str

    @property
    def server(self) -> Path:
        return self.workspace / "server" / "simulate_job"


def job_command(*arguments: str) -> None:
    """What ``python jobs/job.py`` does, in this process: imports alone take seconds.

    Raises:
        SystemExit: As argparse ends the command after a bad option.
    """
    before, path = Path.cwd(), list(sys.path)
    sys.path.insert(0, str(ROOT / "jobs"))  # as for a script
    try:
        importlib.import_module("job").main(list(arguments))
    finally:
        sys.path[:] = path
        os.chdir(before)


def export(name: str, folder: Path, *options: str) -> Path:
    """Write the job folder of ``name`` below ``folder`` as jobs/job.py does; return it."""
    job_command(name, "--env", "export", "--folder", str(folder), *options)
    return folder / name


def client_app(job: Path, site: str) -> Path:
    """The folder of the app of ``site``, by the job's deploy_map."""
    (app,) = [app for app, sites in _deploy_map(job).items() if site in sites]
    return job / app


def client_config(job: Path, site: str = "site-1") -> Any:
    """What NVFlare builds at ``site``."""
    return json.loads((client_app(job, site) / "config" / "config_fed_client.json").read_text())


def own_app(job: Path, site: str) -> Path:
    """Give ``site`` a copy of its app for itself, as somebody who edits a job would; return it."""
    meta = json.loads((job / "meta.json").read_text())
    app, own = client_app(job, site), job / f"app_{site}"
    shutil.copytree(app, own)
    meta["deploy_map"][app.name].remove(site)
    meta["deploy_map"][own.name] = [site]
    (job / "meta.json").write_text(json.dumps(meta))
    return own


def _deploy_map(job: Path) -> dict[str, list[str]]:
    return json.loads((job / "meta.json").read_text())["deploy_map"]


def simulate(
    job: Path, workspace: Path, threads: int, *, clients: int | None = None, **variables: str
) -> Simulation:
    """Run ``nvflare simulator`` on ``job``; the variables are added to the environment.

    ``clients`` is for a job that names no sites.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MEDLEAK_")}
    environment |= {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    sites = [] if clients is None else ["-n", str(clients)]
    process = subprocess.Popen(
        ["nvflare", "simulator", str(job), "-w", str(workspace), "-t", str(threads), *sites],
        env=environment | variables,
        cwd=workspace.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # so that its clients end with it
    )
    try:
        log, _ = process.communicate(timeout=TIMEOUT)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return Simulation(workspace, process.returncode, log)


def allow_medleak(workspace: Path) -> None:
    """Let all parties of a simulation build medleak's classes for jobs that ship no code."""
    allowed = {"format_version": 2, "class_allow_list": ["nvflare.", "medleak."]}
    (workspace / "local").mkdir(parents=True)
    (workspace / "local" / "resources.json").write_text(json.dumps(allowed))


def medleak(*args: str, cwd: Path) -> str:
    """What the ``medleak`` command prints."""
    done = subprocess.run(
        [str(BIN / "medleak"), *args],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout
