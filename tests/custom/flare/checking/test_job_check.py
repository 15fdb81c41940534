"""Tests of attach --check: what made-up weights show of a job before a federation runs it."""

import json

from tests.custom.flare.test_attach import CLIENT, SERVER, job

from medleak.custom.attach import attach_folder, check_folder
from medleak.custom.record.schema import InputSpec, ModelSpec, TaskSpec

NETWORK = """
from torch import nn

class SimpleNetwork(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, width, 3), nn.BatchNorm2d(width)
        self.fc = nn.Linear(width, 10)
"""
NOISE = "percentile_gaussian:sigma0=10"


def changed(content, **args):
    """The client's configuration with other arguments of its executor; None takes one away."""
    client = json.loads(json.dumps(content))
    given = client["executors"][0]["executor"]["args"] | args
    client["executors"][0]["executor"]["args"] = {k: v for k, v in given.items() if v is not None}
    return client


HELLO = changed(CLIENT, execution_mode="in_process")


def attached(root, *, server=SERVER, client=HELLO, network=NETWORK, **options):
    old = job(root, server, client)
    (old / "app" / "custom" / "model.py").write_text(network)
    attach_folder(old, root / "new", **options)
    return root / "new"


def check(root, **options):
    return check_folder(attached(root, **options), allow=["model."])


def test_a_job_that_says_nothing_of_its_schedule_is_recorded(tmp_path):
    done = check(tmp_path)
    seen = "\n".join(done.seen)
    assert done.verdict == "works", seen
    assert "sends FULL weights" in seen
    for kind in ("FULL", "DIFF"):
        for with_meta in ("without", "with"):
            line = f"{kind} weights {with_meta} a declared schedule: recorded, as it was sent"
            assert line in seen
    assert "will have to be told: training loss, images" in seen
    assert "no training ran" in seen


def test_what_was_said_is_not_called_unknown(tmp_path):
    spec = InputSpec(spatial_size=(32, 32), channels=3)
    done = check(tmp_path, task=TaskSpec(num_classes=10), input=spec)
    assert not any("will have to be told" in line for line in done.seen)


def test_filters_are_seen_to_change_and_to_withhold(tmp_path):
    done = check(tmp_path, defence_text=f"withhold+{NOISE}")
    seen = "\n".join(done.seen)
    assert done.verdict == "works", seen
    assert "6 tensors changed and 3 withheld by withhold, percentile_gaussian" in seen
    assert "FULL weights with a declared schedule: it does not leave the site" in seen


def test_a_defence_that_changes_nothing_fails_and_a_filter_of_the_jobs_own_does_not(tmp_path):
    network = NETWORK.replace(", self.norm", "").replace(", nn.BatchNorm2d(width)", "")
    done = check(tmp_path, network=network, defence_text="withhold")
    assert done.verdict == "fails"
    assert any("Withhold protects nothing of it" in line for line in done.seen)
    own = {"path": "nvflare.app_common.filters.exclude_vars.ExcludeVars", "args": {}}
    client = {**HELLO, "task_result_filters": [{"tasks": ["train"], "filters": [own]}]}
    (tmp_path / "own").mkdir()
    done = check(tmp_path / "own", client=client)
    assert done.verdict == "works", done.seen


def test_full_weights_in_front_of_filters_are_protected(tmp_path):
    new = attached(tmp_path, defence_text=NOISE)
    path = new / "app" / "config" / "config_fed_client.json"
    path.write_text(json.dumps(changed(json.loads(path.read_text()), params_transfer_type="FULL")))
    done = check_folder(new, allow=["model."])
    assert done.verdict == "works", done.seen
    assert any("FULL" in line and "tensors changed" in line for line in done.seen)


def test_a_guarantee_that_hides_the_schedule_leaves_no_record_and_the_reason_is_said(tmp_path):
    done = check(tmp_path, defence_text="clipped_gaussian:noise_multiplier=1,max_grad_norm=1")
    assert done.verdict == "fails"
    assert any('disclose=["schedule"]' in line for line in done.seen)


def test_a_job_that_names_no_network_is_not_known(tmp_path):
    done = check(tmp_path, server={**SERVER, "components": []})
    assert done.verdict == "not known"
    assert "give it by --model" in done.seen[0]


def test_filters_of_the_jobs_own_and_another_name_of_the_task_are_recorded(tmp_path):
    path = "nvflare.app_common.workflows.cyclic_ctl.CyclicController"
    own = {"path": "nvflare.app_common.filters.exclude_vars.ExcludeVars", "args": {}}
    chain = {"tasks": ["fit", "validate"], "filters": [own]}
    server = {
        **SERVER,
        "workflows": [{"path": path, "args": {"task_name": "fit"}}],
        "task_result_filters": [chain],
    }
    client = {**HELLO, "task_result_filters": [chain]}
    done = check(tmp_path, server=server, client=client, defence_text=NOISE)
    assert done.verdict == "works", done.seen
    assert any("task fit: DIFF" in line and "8 tensors changed" in line for line in done.seen)


def test_what_an_executor_sends_by_default_is_taken_from_its_class(tmp_path):
    done = check(tmp_path, client=changed(HELLO, params_transfer_type=None))
    assert any("ClientAPIExecutor sends FULL weights" in line for line in done.seen)


def test_a_task_that_no_executor_takes_fails(tmp_path):
    new = attached(tmp_path)
    path = new / "app" / "config" / "config_fed_client.json"
    client = json.loads(path.read_text())
    client["executors"][0]["tasks"] = ["fit"]
    path.write_text(json.dumps(client))
    done = check_folder(new, allow=["model."])
    assert done.verdict == "fails"
    assert any("no executor takes it" in line for line in done.seen)


def test_another_network_than_the_jobs_is_said(tmp_path):
    args = {"path": "model.SimpleNetwork", "args": {"width": 8}}
    done = check(tmp_path, model=ModelSpec(**args))
    assert any("will name is not the job's" in line for line in done.seen), done.seen
    done = check(tmp_path / "missing", model=ModelSpec(path="model.Absent"))
    assert any("no audit could build the network" in line for line in done.seen), done.seen


def test_a_workflow_of_the_jobs_own_leaves_it_open_which_task_trains(tmp_path):
    own = {"path": "controller.Own", "args": {}}
    old = job(tmp_path, {**SERVER, "workflows": [own]}, HELLO)
    (old / "app" / "custom" / "model.py").write_text(NETWORK)
    (old / "app" / "custom" / "controller.py").write_text(
        "from nvflare.app_common.workflows.fedavg import FedAvg\n\nclass Own(FedAvg): pass\n"
    )
    attach_folder(old, tmp_path / "new")
    done = check_folder(tmp_path / "new", allow=["model.", "controller."])
    assert done.verdict == "not known", done.seen
    assert any("controller.Own does not say which task trains" in line for line in done.seen)


def test_without_a_recorder_nothing_is_called_recorded(tmp_path):
    old = job(tmp_path, client=HELLO)
    (old / "app" / "custom" / "model.py").write_text(NETWORK)
    done = check_folder(old, allow=["model."])
    assert done.verdict == "fails"
    assert "no recorder" in done.seen[0]


def test_an_executor_that_says_no_kind_is_judged_by_both(tmp_path):
    path = "nvflare.app_common.executors.learner_executor.LearnerExecutor"
    made = {"path": path, "args": {"learner_id": "learner"}}
    client = {**HELLO, "executors": [{"tasks": ["*"], "executor": made}]}
    done = check(tmp_path, client=client)
    assert done.verdict == "works", done.seen
    assert any("LearnerExecutor sends is not known" in line for line in done.seen)
