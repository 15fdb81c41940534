"""NVFlare's POC from a test: a real federation on this machine, with an end."""

import contextlib
import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.jobs.simulation import BIN

PORTS = (8002, 8003)  # NVFlare's POC has no other


@dataclass(frozen=True, slots=True)
class Federation:
    folder: Path
    environment: dict[str, str]

    def nvflare(self, *args: str, timeout: int = 120) -> str:
        done = subprocess.run(
            ["nvflare", *args],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        return done.stdout + done.stderr

    def run(self, job: Path) -> Path:
        """Submit ``job``, wait for its end, and return what the server kept of it."""
        said = self.nvflare("job", "submit", "-j", str(job))
        found = re.search(r"job_id: ([0-9a-f-]{36})", said)
        assert found, said
        self.nvflare("job", "wait", found[1], "--timeout", "200", timeout=240)
        self.nvflare("job", "download", found[1], "-o", "results")
        return self.folder / "results" / found[1] / "workspace"

    def kit(self, name: str) -> Path:
        """The startup kit of a site, or of the server."""
        return self.folder / "poc" / "example_project" / "prod_00" / name

    def log(self, site: str, job: Path) -> str:
        """What ``site`` logged in the run of ``job``, by the result folder's name."""
        return (self.kit(site) / job.parent.name / "log.txt").read_text()


@contextlib.contextmanager
def federated(
    folder: Path, installed: Path, sites: int, prepare: Callable[[Federation], None], **more: str
) -> Iterator[Federation]:
    """A server and ``sites`` sites, whose kits ``prepare`` changes before they start.

    ``installed`` is where medleak's wheel is; ``more`` is added to the environment of all.
    """
    for port in PORTS:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                pytest.skip(f"port {port}, which NVFlare's POC needs, is taken on this machine")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MEDLEAK_")} | {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(installed),  # as on a site: the wheel, not this source tree
        "HOME": str(folder),  # the CLI keeps its configuration there
        "NVFLARE_POC_WORKSPACE": str(folder / "poc"),
        "OMP_NUM_THREADS": "1",
        **more,
    }
    federation = Federation(folder, environment)
    federation.nvflare("poc", "prepare", "-n", str(sites), "--force")
    prepare(federation)
    try:
        federation.nvflare("poc", "start")
        yield federation
    finally:
        federation.nvflare("poc", "stop")
