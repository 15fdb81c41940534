"""Hostile jobs against sites that ``medleak policy`` has written, in a real federation (POC)."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from medleak.custom.record import list_updates, read_record
from tests.jobs.poc import Federation, federated
from tests.jobs.simulation import BIN, export

pytestmark = [pytest.mark.simulator, pytest.mark.timeout(500)]

TABLE = "site-1:4:8:8,site-2:4:8:8"

# Importable at the server and at all sites: the colluders need not ship it.
COLLUDERS = """
import json, os
from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.executor import Executor
from nvflare.app_common.aggregators.intime_accumulate_model_aggregator import (
    InTimeAccumulateWeightedAggregator,
)
from nvflare.app_common.ccwf.swarm_server_ctl import SwarmServerController


class DeafController(SwarmServerController):
    \"\"\"Puts a round on every task, and takes refusals for consent.\"\"\"

    looks = 0

    def broadcast_and_wait(self, task, *args, **kwargs):
        task.data.set_header("current_round", 0)
        return super().broadcast_and_wait(task, *args, **kwargs)

    def send_and_wait(self, task, *args, **kwargs):
        task.data.set_header("current_round", 0)
        return super().send_and_wait(task, *args, **kwargs)

    def _process_configure_reply(self, client_task, fl_ctx):
        import time
        self.client_statuses[client_task.client.name].ready_time = time.time()

    def _process_start_reply(self, client_task, fl_ctx):
        self.cw_started = True

    def _check_job_status(self, fl_ctx):
        self.looks += 1
        return self.looks > 45

    def handle_event(self, event_type, fl_ctx):
        pass


class Trainer(Executor):
    \"\"\"Of the colluding site: takes part, so that the swarm runs.\"\"\"

    def execute(self, task_name, shareable, fl_ctx, abort_signal):
        sent = from_shareable(shareable).data
        dxo = DXO(DataKind.WEIGHT_DIFF, data={n: 0 * v for n, v in sent.items()})
        dxo.set_meta_prop("NUM_STEPS_CURRENT_ROUND", 1)
        return dxo.to_shareable()


class Listener(InTimeAccumulateWeightedAggregator):
    \"\"\"Writes down whose update came in.\"\"\"

    def accept(self, shareable, fl_ctx):
        peer = fl_ctx.get_peer_context()
        name = peer.get_identity_name() if peer else fl_ctx.get_identity_name()
        with open(os.environ["HEARD"], "a") as file:
            file.write(f"{name} {len(from_shareable(shareable).data)}\\n")
        return super().accept(shareable, fl_ctx)
"""


@pytest.fixture(scope="module")
def federation(tmp_path_factory, installed) -> Iterator[Federation]:
    """site-1 as the command writes it, site-3 with a list that admits all; site-2 colludes."""
    folder = tmp_path_factory.mktemp("policy")
    (folder / "colluders").mkdir()
    (folder / "colluders" / "colluders_of_this_test.py").write_text(COLLUDERS)

    def harden(made: Federation) -> None:
        for name in ("server", "site-1", "site-3"):
            command = [BIN / "medleak", "policy", made.kit(name), "--yes"]
            command += ["--epsilon", "8", "--rounds", "30"]
            done = subprocess.run(
                command, env=made.environment, capture_output=True, text=True, timeout=200
            )
            assert done.returncode == 0, done.stdout + done.stderr
        for name in ("site-2", "site-3"):
            admit_anything(made.kit(name))

    more = {
        "PYTHONPATH": f"{installed}{os.pathsep}{folder / 'colluders'}",
        "HEARD": str(folder / "heard"),
    }
    with federated(folder, installed, 3, harden, **more) as made:
        yield made


def admit_anything(kit: Path) -> None:
    path = kit / "local" / "resources.json"
    default = kit / "local" / "resources.json.default"
    content = json.loads((path if path.exists() else default).read_text())
    path.write_text(json.dumps({**content, "class_allow_list": ["*"]}))


def folder_of(job: Path, meta: dict[str, list[str]], **apps: object) -> Path:
    """A job without code: the configuration of each app by its name."""
    for app, config in apps.items():
        side = "server" if app == "app_server" else "client"
        path = job / app / "config" / f"config_fed_{side}.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"format_version": 2, **dict(config)}))  # type: ignore[call-overload]
    text = {"name": job.name, "resource_spec": {}, "min_clients": 1, "deploy_map": meta}
    (job / "meta.json").write_text(json.dumps(text))
    return job


def installed_client(tmp_path: Path) -> dict:
    """The client that the other apps of a hostile job are built round."""
    job = export("cxr_clean", tmp_path, "--table", TABLE, "--scale", "1", "--installed")
    config = next(job.glob("app_*/config/config_fed_client.json"))
    return json.loads(config.read_text())


def test_a_job_without_code_runs_and_leaves_protected_and_accounted(federation, tmp_path):
    options = ("--table", TABLE, "--scale", "1", "--num_rounds", "1", "--installed")
    result = federation.run(export("cxr_clean", tmp_path, *options))
    clean = read_record(result / "records", 0, "site-2")
    ((site, reason),) = [(left.site, left.reason) for left in clean.manifest.left_out]
    assert (site, "hides the training schedule" in reason) == ("site-1", True)  # as ε covers it
    weight = "features.layer3.0.conv1.weight"
    saved = torch.load(result / "app_server" / "FL_global_model.pt", weights_only=True)
    moved = np.asarray(saved["model"][weight]) - clean.global_state[weight]
    assert np.std(moved) > 20 * np.std(clean.update[weight])  # the mean of both sites' updates
    kit = federation.kit("site-1")
    assert len((kit / "medleak_ledger.jsonl").read_text().splitlines()) == 1
    assert (kit.stat().st_mode & 0o077, (kit / "local/privacy.json").stat().st_mode & 0o077) == (
        0,
        0,
    )


@pytest.mark.parametrize("way", ["a command", "a stranger's network", "a stream of logs"])
def test_a_job_that_would_run_a_command_or_stream_is_not_built(way, federation, tmp_path):
    ran = tmp_path / "ran"
    client = installed_client(tmp_path)
    (entry,) = client["executors"]
    if way == "a command":
        entry["executor"] = {
            "path": "nvflare.app_common.executors.client_api_executor.ClientAPIExecutor",
            "args": {"execution_mode": "external_process", "command": ["touch", str(ran)]},
        }
    elif way == "a stranger's network":
        words = entry["executor"]["args"]["task_script_args"].split()
        at = words.index("--model_path")
        words[at + 1] = "pathlib.Path.touch"
        entry["executor"]["args"]["task_script_args"] = " ".join(words)
    else:
        streamer = "nvflare.app_common.logging.job_log_streamer.JobLogStreamer"
        client["components"] = [{"id": "s", "path": streamer, "args": {}}]
    server = {
        "workflows": [
            {
                "id": "w",
                "path": "nvflare.app_common.workflows.fedavg.FedAvg",
                "args": {"num_clients": 1, "num_rounds": 1, "persistor_id": "persistor"},
            }
        ],
        "components": [
            {
                "id": "persistor",
                "path": "nvflare.app_opt.pt.file_model_persistor.PTFileModelPersistor",
                "args": {
                    "model": {
                        "path": "medleak.custom.initial.initial_network",
                        "args": {
                            "model_path": "medleak.custom.networks.resnet18",
                            "model_args": {"num_classes": 2},
                            "weights": "random",
                        },
                    }
                },
            }
        ],
    }
    job = folder_of(
        tmp_path / "hostile",
        {"app_server": ["server"], "app_client": ["site-1"]},
        app_server=server,
        app_client=client,
    )
    ledger = federation.kit("site-1") / "medleak_ledger.jsonl"
    before = ledger.read_text() if ledger.exists() else ""
    result = federation.run(job)
    assert not ran.exists()
    assert not list_updates(result / "records") if (result / "records").exists() else True
    said = federation.log("site-1", result)
    expected = "nobody here has allowed" if "network" in way else "is not in allow_list"
    assert expected in said, said[-2000:]
    assert (ledger.read_text() if ledger.exists() else "") == before


def test_a_job_that_brings_a_file_of_the_sites_does_not_train(federation, tmp_path):
    job = export("cxr_clean", tmp_path, "--table", TABLE, "--scale", "1", "--installed")
    open_to_all = {"format_version": 2, "class_allow_list": ["*"], "allow_log_streaming": True}
    for config in job.glob("app_*/config"):
        (config / "resources.json").write_text(json.dumps(open_to_all))
    kit = federation.kit("site-1")
    before = (kit / "medleak_ledger.jsonl").read_text()
    result = federation.run(job)
    assert "has the name of a file of its operator's" in federation.log("site-1", result)
    assert (kit / "medleak_ledger.jsonl").read_text() == before


def test_in_a_swarm_nothing_leaves_a_site_whatever_its_class_list_admits(federation, tmp_path):
    admit_anything(federation.kit("server"))
    client = installed_client(tmp_path)
    swarm = "nvflare.app_common.ccwf.swarm_client_ctl.SwarmClientController"
    arguments = {"learn_task_name": "train", "learn_task_timeout": 60}
    arguments |= {"min_responses_required": 1, "wait_time_after_min_resps_received": 5}
    controller = {"tasks": ["swarm_*"], "executor": {"path": swarm, "args": arguments}}
    own = {"path": "colluders_of_this_test.Trainer", "args": {}}
    trained = {**client["executors"][0], "tasks": ["train"]}
    network = {
        "path": "medleak.custom.initial.initial_network",
        "args": {
            "model_path": "medleak.custom.networks.resnet18",
            "model_args": {"num_classes": 2},
            "weights": "random",
        },
    }
    generator = "nvflare.app_common.shareablegenerators.full_model_shareable_generator"
    aggregator = "nvflare.app_common.aggregators.intime_accumulate_model_aggregator"

    def site(collects: str, trains: dict) -> dict:
        persistor = "nvflare.app_opt.pt.file_model_persistor.PTFileModelPersistor"
        named = [
            ("persistor", persistor, {"model": network}),
            ("shareable_generator", f"{generator}.FullModelShareableGenerator", {}),
            ("aggregator", collects, {"expected_data_kind": "WEIGHT_DIFF"}),
        ]
        components = [{"id": i, "path": p, "args": a} for i, p, a in named]
        return {"executors": [controller, trains], "components": components}

    workflow = {
        "id": "swarm_controller",
        "path": "colluders_of_this_test.DeafController",
        "args": {
            "num_rounds": 1,
            "starting_client": "site-2",
            "train_clients": ["site-2", "site-3"],
            "aggr_clients": ["site-2"],
            "configure_task_timeout": 60,
            "start_task_timeout": 40,
        },
    }
    job = folder_of(
        tmp_path / "swarm",
        {"app_server": ["server"], "app_2": ["site-2"], "app_3": ["site-3"]},
        app_server={"workflows": [workflow], "components": []},
        app_2=site("colluders_of_this_test.Listener", {"tasks": ["train"], "executor": own}),
        app_3=site(f"{aggregator}.InTimeAccumulateWeightedAggregator", trained),
    )
    result = federation.run(job)
    heard = federation.folder / "heard"
    whose = (
        {line.split()[0] for line in heard.read_text().splitlines()} if heard.exists() else set()
    )
    assert whose == {"site-2"}, federation.log("site-2", result)[-3000:]  # the swarm did run
    # The sentinel stands before WorkflowGuard, and knows no task of a swarm either.
    assert "Sentinel refused the task: The task is 'swarm_learn'" in federation.log(
        "site-3", result
    )
    assert not (federation.kit("site-3") / "medleak_ledger.jsonl").exists()
