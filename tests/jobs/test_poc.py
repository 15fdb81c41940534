"""A real federation on this machine (NVFlare POC): what a site's policy enforces against a job."""

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from medleak.custom.record import list_updates, read_record
from tests.jobs.simulation import BIN, client_app, export, own_app

pytestmark = [pytest.mark.simulator, pytest.mark.timeout(400)]

TABLE = "site-1:4:8:8,site-2:4:8:8"
PORTS = (8002, 8003)  # NVFlare's POC has no other
POLICY = {
    "scopes": [
        {
            "name": "default",
            "task_data_filters": [{"path": "medleak.filters.adapters.GlobalModel"}],
            "task_result_filters": [
                {"path": "medleak.filters.adapters.PercentileGaussian", "args": {"sigma0": 10}}
            ],
        }
    ],
    "default_scope": "default",
}


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

    def log(self, site: str, job: Path) -> str:
        """What ``site`` logged in the run of ``job``, by the result folder's name."""
        kit = self.folder / "poc" / "example_project" / "prod_00" / site
        return (kit / job.parent.name / "log.txt").read_text()


@pytest.fixture(scope="module")
def federation(tmp_path_factory, installed) -> Iterator[Federation]:
    """One server, two sites; site-1 enforces noise on every job."""
    for port in PORTS:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                pytest.skip(f"port {port}, which NVFlare's POC needs, is taken on this machine")
    folder = tmp_path_factory.mktemp("federation")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MEDLEAK_")} | {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(installed),  # as on a site: the wheel, not this source tree
        "HOME": str(folder),  # the CLI keeps its configuration there
        "NVFLARE_POC_WORKSPACE": str(folder / "poc"),
        "OMP_NUM_THREADS": "1",
    }
    federation = Federation(folder, environment)
    federation.nvflare("poc", "prepare", "-n", "2", "--force")
    local = folder / "poc" / "example_project" / "prod_00" / "site-1" / "local"
    (local / "privacy.json").write_text(json.dumps(POLICY))
    try:
        federation.nvflare("poc", "start")
        yield federation
    finally:
        federation.nvflare("poc", "stop")


def test_the_policy_of_a_site_adds_noise_that_no_job_asked_for_or_can_shadow(federation, tmp_path):
    options = ("--table", TABLE, "--scale", "1", "--num_rounds", "1")
    job = export("cxr_clean", tmp_path, *options)
    assert client_app(job, "site-1") == client_app(job, "site-2")  # one app for both
    shadow = client_app(job, "site-1") / "custom" / "medleak" / "filters" / "adapters"
    shadow.mkdir(parents=True)
    for package in (shadow, shadow.parent, shadow.parent.parent):
        (package / "__init__.py").write_text(
            "from nvflare.apis.filter import Filter\n"
            "class PercentileGaussian(Filter):\n"
            "    def __init__(self, **kwargs): super().__init__()\n"
            "    def process(self, shareable, fl_ctx): return shareable\n"
            "GlobalModel = PercentileGaussian\n"
        )
    result = federation.run(job)
    noisy, clean = (read_record(result / "records", 0, f"site-{n}") for n in (1, 2))
    assert [d["name"] for d in noisy.info.defences] == ["percentile_gaussian"]
    assert clean.info.defences == ()
    weight = "features.layer3.0.conv1.weight"
    assert np.std(noisy.update[weight]) > 5 * np.std(clean.update[weight])


def test_a_job_that_sends_whole_weights_past_the_filter_sends_nothing(federation, tmp_path):
    options = ("--table", TABLE, "--scale", "1", "--num_rounds", "1")
    job = export("cxr_clean", tmp_path, *options)
    config = own_app(job, "site-1") / "config" / "config_fed_client.json"
    text = json.loads(config.read_text())
    text["executors"][0]["tasks"] = ["*"]
    text["executors"][0]["executor"]["args"]["params_transfer_type"] = "FULL"
    config.write_text(json.dumps(text))
    result = federation.run(job)
    assert "site-1" not in {site for _, site in list_updates(result / "records")}
    assert "WEIGHTS" in federation.log("site-1", result)
