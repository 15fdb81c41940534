"""Tests of attach --check on a swarm: made-up updates at each site, as if it aggregated."""

from tests.custom.flare.checking.test_job_check import NETWORK, attached
from tests.custom.flare.test_attach import SWARM_CLIENT, SWARM_SERVER

from medleak.custom.attach import check_folder
from medleak.custom.flare.swarm.recorder import SwarmRecorder
from medleak.custom.record import RecordError

GENERATOR = "nvflare.app_common.ccwf.comps.simple_model_shareable_generator."
MADE = {
    **SWARM_CLIENT,
    "executors": [
        SWARM_CLIENT["executors"][0],
        {
            "tasks": ["train"],
            "executor": {
                "path": "nvflare.app_common.executors.client_api_executor.ClientAPIExecutor",
                "args": {"execution_mode": "in_process", "task_script_path": "client.py"},
            },
        },
    ],
    "components": [
        *SWARM_CLIENT["components"],
        {
            "id": "shareable_generator",
            "path": f"{GENERATOR}SimpleModelShareableGenerator",
            "args": {},
        },
    ],
}


def swarm(root, client=MADE, **options):
    return attached(root, server=SWARM_SERVER, client=client, network=NETWORK, **options)


def test_each_site_records_what_another_sends(tmp_path):
    done = check_folder(swarm(tmp_path), allow=["model."])
    seen = "\n".join(done.seen)
    assert done.verdict == "works", seen
    assert "ClientAPIExecutor sends FULL weights" in seen
    for kind in ("FULL", "DIFF"):
        assert f"{kind} weights of another site: recorded" in seen
    assert "will have to be told: training loss, images" in seen
    assert "no site sent another anything" in seen


def test_what_the_recorder_cannot_record_fails(tmp_path, monkeypatch):
    def refuse(*_):
        raise RecordError("too large")

    monkeypatch.setattr(SwarmRecorder, "_record", refuse)
    done = check_folder(swarm(tmp_path), allow=["model."])
    assert done.verdict == "fails"
    assert "Recording failed: too large" in "\n".join(done.seen)


def test_without_the_right_to_build_the_network_nothing_is_claimed(tmp_path):
    assert check_folder(swarm(tmp_path)).verdict == "not known"


def test_a_constructor_that_refuses_its_arguments_fails_before_the_federation(tmp_path):
    folder = swarm(tmp_path)
    config = folder / "app" / "config" / "config_fed_client.json"
    config.write_text(config.read_text().replace('"model_path"', '"no_such_argument"'))
    assert check_folder(folder, allow=["model."]).verdict == "fails"
