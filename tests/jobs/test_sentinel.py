"""A server that cheats in one round, against a site that looks: a federation of NVFlare (POC)."""

import json
import os
import subprocess
from collections.abc import Iterator

import pytest

from medleak.custom.record import list_updates
from tests.jobs.poc import Federation, federated
from tests.jobs.simulation import BIN, export

pytestmark = [pytest.mark.simulator, pytest.mark.timeout(400)]

TABLE = "site-1:8:8:8,site-2:8:8:8"
TRAPPED, ROUNDS = 3, 5

# Importable at the server: kernels that copy the image, in one round.
SERVER = """
import torch
from nvflare.apis.dxo import from_shareable
from nvflare.apis.filter import Filter
from medleak.custom.small_networks import strided_cnn
from medleak.inversion.malicious.identity_kernels import UnfoldingKernels
from medleak.inversion.malicious.view import View


class Trap(Filter):
    def process(self, shareable, fl_ctx):
        if shareable.get_header("current_round") != ROUND:
            return shareable
        dxo = from_shareable(shareable)
        network = strided_cnn(2, 32)
        trap = UnfoldingKernels().tamper(network, View(public=torch.rand(64, 1, 32, 32)))
        dxo.data = {n: v.numpy() for n, v in trap.state_dict().items()}
        return dxo.update_shareable(shareable)
"""


@pytest.fixture(scope="module")
def federation(tmp_path_factory, installed) -> Iterator[Federation]:
    """site-1 as ``medleak policy`` writes it; the server and site-2 as they come."""
    folder = tmp_path_factory.mktemp("sentinel")
    (folder / "server").mkdir()
    source = SERVER.replace("ROUND", str(TRAPPED))
    (folder / "server" / "server_of_this_test.py").write_text(source)

    def prepare(made: Federation) -> None:
        command = [BIN / "medleak", "policy", made.kit("site-1"), "--heuristic", "--yes"]
        done = subprocess.run(
            command, env=made.environment, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stdout + done.stderr
        for name in ("server", "site-2"):
            path = made.kit(name) / "local" / "resources.json"
            default = path.with_name("resources.json.default")
            content = json.loads((path if path.exists() else default).read_text())
            path.write_text(json.dumps({**content, "class_allow_list": ["*"]}))

    more = {"PYTHONPATH": f"{installed}{os.pathsep}{folder / 'server'}"}
    with federated(folder, installed, 2, prepare, **more) as made:
        yield made


def test_the_site_refuses_the_trap_sends_nothing_and_goes_on(federation, tmp_path):
    options = ("--table", TABLE, "--scale", "1", "--num_rounds", str(ROUNDS), "--installed")
    network = ("--model", "medleak.custom.small_networks.strided_cnn", "--spatial_size", "32")
    job = export("cxr_clean", tmp_path, *options, *network)
    (path,) = job.glob("app*/config/config_fed_server.json")
    config = json.loads(path.read_text())
    for workflow in config["workflows"]:
        if workflow["path"].endswith("FedAvg"):
            workflow["args"]["ignore_result_error"] = True
    trap = {"path": "server_of_this_test.Trap", "args": {}}
    config.setdefault("task_data_filters", []).append({"tasks": ["train"], "filters": [trap]})
    path.write_text(json.dumps(config))
    result = federation.run(job)
    said = federation.log("site-1", result)
    sent = [round for round, site in list_updates(result / "records") if site == "site-1"]
    assert sent == [r for r in range(ROUNDS) if r != TRAPPED], said[-4000:]
    lines = [x for x in said.splitlines() if "task refused" in x and "looks like a trap" in x]
    assert len(lines) == 1
    assert f"the model of round {TRAPPED} looks like a trap" in lines[0]
    kit = federation.kit("site-1")
    (seen,) = kit.glob("medleak_state/*/sentinel/seen.jsonl")
    outcomes = [json.loads(x)["outcome"] for x in seen.read_text().splitlines()]
    assert outcomes == ["let through"] * 3 + ["refuse_round", "let through"]
    assert len((kit / "medleak_ledger.jsonl").read_text().splitlines()) == ROUNDS - 1
