"""Tests of attaching to a job that nobody here wrote, in every format and of several workflows."""

import json
from types import SimpleNamespace

import pytest
from nvflare.app_opt.pt.recipes.swarm import SwarmLearningRecipe

from medleak.custom.flare.attach import attach, attach_folder
from medleak.custom.flare.foreign_job import AttachError
from medleak.custom.record.schema import ModelSpec, TaskSpec
from medleak.filters.adapters.examination import kit

FEDAVG = "nvflare.app_common.workflows.fedavg.FedAvg"
SERVER = {
    "format_version": 2,
    "workflows": [{"id": "controller", "path": FEDAVG, "args": {"num_clients": 2}}],
    "components": [
        {
            "id": "persistor",
            "path": "nvflare.app_opt.pt.file_model_persistor.PTFileModelPersistor",
            "args": {"model": {"path": "model.SimpleNetwork", "args": {"width": 4}}},
        }
    ],
}
CLIENT = {
    "format_version": 2,
    "executors": [
        {
            "tasks": ["*"],
            "executor": {
                "path": "nvflare.app_common.executors.client_api_executor.ClientAPIExecutor",
                "args": {"task_script_path": "client.py", "params_transfer_type": "FULL"},
            },
        }
    ],
}


def as_yaml(content):
    import yaml

    return yaml.safe_dump(content)


FORMATS = {"json": json.dumps, "conf": json.dumps, "yml": as_yaml}


def job(root, server=SERVER, client=CLIENT, suffix="json"):
    folder = root / "job"
    meta = {"name": "foreign", "deploy_map": {"app": ["@ALL"]}, "min_clients": 2}
    for name, content in (("server", server), ("client", client)):
        path = folder / "app" / "config" / f"config_fed_{name}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(FORMATS[suffix](content))
    (folder / "app" / "custom").mkdir(exist_ok=True)
    (folder / "app" / "custom" / "client.py").write_text("print('theirs')")
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


def config(folder, side):
    (app,) = kit.load_apps(folder, kit.load_meta(folder))
    assert isinstance(app, kit.App)
    return getattr(app, side)


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_recorder_is_added_with_the_network_that_the_job_names(tmp_path, suffix):
    old = job(tmp_path, suffix=suffix)
    done = attach_folder(old, tmp_path / "new", task=TaskSpec(num_classes=10))
    (chain,) = config(tmp_path / "new", "server")["task_result_filters"]
    assert chain["tasks"] == ["train"]
    (recorder,) = chain["filters"]
    assert recorder["path"] == "medleak.custom.recorder.UpdateRecorder"
    assert recorder["args"]["model_path"] == "model.SimpleNetwork"
    assert recorder["args"]["model_args"] == {"width": 4}
    assert recorder["args"]["task"]["num_classes"] == 10
    assert done.unknown == ["images: not known"]
    assert "workflow FedAvg" in done.found
    assert (tmp_path / "new/app/custom/client.py").read_text() == "print('theirs')"
    client = config(tmp_path / "new", "client")["executors"][0]["executor"]["args"]
    assert client["params_transfer_type"] == "FULL"  # nothing is changed that need not be
    assert "UpdateRecorder" not in json.dumps(config(old, "server"))


def test_filters_come_with_what_they_need_and_say_so(tmp_path):
    text = "withhold+percentile_gaussian:sigma0=10"
    done = attach_folder(job(tmp_path), tmp_path / "new", defence_text=text)
    client = config(tmp_path / "new", "client")
    (chain,) = client["task_result_filters"]
    assert [f["path"].rpartition(".")[2] for f in chain["filters"]] == [
        "Withhold",
        "PercentileGaussian",
    ]
    assert client["task_data_filters"][0]["filters"][0]["path"].endswith("RestoreWithheld")
    (entry,) = client["executors"]
    assert entry["tasks"] == ["train"]
    assert entry["executor"]["args"]["params_transfer_type"] == "DIFF"
    said = "; ".join(done.found)
    assert "params_transfer_type is DIFF now" in said
    assert "takes train alone" in said


def test_a_filter_of_the_jobs_own_stays_in_front_in_one_chain(tmp_path):
    def made(path):
        return {"path": path, "args": {}}

    own = [
        {"tasks": ["train", "validate"], "filters": [made("a.b.Own")]},
        {"tasks": ["train"], "direction": "in", "filters": [made("a.b.Other")]},
        {"tasks": ["submit"], "direction": "inout", "filters": [made("a.b.Third")]},
    ]
    client = {**CLIENT, "task_result_filters": own}
    text = "percentile_gaussian:sigma0=10"
    done = attach_folder(job(tmp_path, client=client), tmp_path / "new", defence_text=text)
    assert "app: Own of the job's own stays; the record does not say so" in done.found
    chains = config(tmp_path / "new", "client")["task_result_filters"]
    assert chains[:3] == [{**own[0], "tasks": ["validate"]}, *own[1:]]
    assert chains[3]["tasks"] == ["train"]  # NVFlare starts no job with two chains of one task
    assert [f["path"].rpartition(".")[2] for f in chains[3]["filters"]] == [
        "Own",
        "PercentileGaussian",
    ]


def test_a_chain_of_both_directions_keeps_the_other_one(tmp_path):
    own = {"tasks": ["train"], "direction": "INOUT", "filters": [{"path": "a.b.Own", "args": {}}]}
    attach_folder(job(tmp_path, {**SERVER, "task_result_filters": [own]}), tmp_path / "new")
    first, second = config(tmp_path / "new", "server")["task_result_filters"]
    assert first == {**own, "direction": "out"}
    assert [f["path"].rpartition(".")[2] for f in second["filters"]] == ["Own", "UpdateRecorder"]


def test_what_only_the_running_site_knows_stays_to_be_filled_in(tmp_path, monkeypatch):
    monkeypatch.setenv("OF_THIS_MACHINE", "here")
    args = {"a": "{SITE_NAME}", "b": "--out {JOB_ID}/x", "c": "{$OF_THIS_MACHINE}", "d": "{own}"}
    client = {**CLIENT, "own": 3, "components": [{"id": "x", "path": "a.b.C", "args": args}]}
    attach_folder(job(tmp_path, client=client), tmp_path / "new")
    text = (tmp_path / "new/app/config/config_fed_client.json").read_text()
    assert json.loads(text)["components"][0]["args"] == args | {"d": 3}


def test_cyclic_is_recorded_and_another_name_of_the_task_is_found(tmp_path):
    path = "nvflare.app_common.workflows.cyclic_ctl.CyclicController"
    server = {**SERVER, "workflows": [{"path": path, "args": {"task_name": "fit"}}]}
    done = attach_folder(
        job(tmp_path, server), tmp_path / "new", defence_text="percentile_gaussian:sigma0=1"
    )
    assert any("pass the model on" in line for line in done.found)
    (chain,) = config(tmp_path / "new", "server")["task_result_filters"]
    assert chain["tasks"] == ["fit"]
    assert chain["filters"][0]["args"]["tasks"] == ["fit"]  # the recorder takes no other task
    (chain,) = config(tmp_path / "new", "client")["task_result_filters"]
    assert chain["tasks"] == ["fit"]
    assert chain["filters"][0]["args"]["tasks"] == ["fit"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("nvflare.app_opt.flower.controller.FlowerController", "would ever be called"),
        ("nvflare.app_common.ccwf.SwarmServerController", "swarm|client-controlled"),
        ("nvflare.app_opt.xgboost.histogram_based_v2.XGBFedController", "no weights"),
    ],
)
def test_where_nothing_would_be_recorded_the_job_is_refused(tmp_path, path, words):
    server = {**SERVER, "workflows": [{"path": path, "args": {}}]}
    with pytest.raises(AttachError, match=rf"{path}.*({words}).*Nothing was written"):
        attach_folder(job(tmp_path, server), tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"defence_text": "noise"}, "Unknown defence"),
        ({"defence_text": "percentile_gaussian:sigma0=-1"}, "sigma0"),
    ],
)
def test_what_a_filter_refuses_is_said_before_anything_is_written(tmp_path, change, words):
    with pytest.raises(ValueError, match=words):
        attach_folder(job(tmp_path), tmp_path / "new", **change)
    assert not (tmp_path / "new").exists()


def test_a_folder_that_is_there_and_one_that_is_no_job_are_refused(tmp_path):
    old = job(tmp_path)
    with pytest.raises(AttachError, match="exists"):
        attach_folder(old, tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(AttachError, match=r"0 server and 0 client|no job"):
        attach_folder(tmp_path / "empty", tmp_path / "new")


def test_what_an_audit_will_need_is_said_as_its_options(tmp_path):
    own = job(tmp_path)
    (own / "app" / "custom" / "model.py").write_text("class SimpleNetwork: ...")
    options = attach_folder(own, tmp_path / "new").options
    assert options[:3] == ["--allow-model model.", "--task LOSS:OUTPUTS", "--input HxWxC"]
    known = attach_folder(
        own,
        tmp_path / "b",
        model=ModelSpec(path="torchvision.models.resnet18"),
        task=TaskSpec(num_classes=10),
    )
    assert known.options[0] == "--input HxWxC"
    assert known.options[-1].startswith("--schedule n_images=")


def test_the_folder_that_a_recipe_exported_its_job_into_will_do_for_the_job(tmp_path):
    folder = tmp_path / "exported"
    job(folder)
    done = attach_folder(folder, tmp_path / "new")
    assert done.found[0] == f"job job in {folder}"
    assert (tmp_path / "new" / "meta.json").is_file()
    job(folder / "other")
    (folder / "other" / "job").rename(folder / "second")
    with pytest.raises(AttachError, match="holds 2 jobs: name one"):
        attach_folder(folder, tmp_path / "b")


def test_a_network_that_the_job_does_not_name_is_unknown_or_given(tmp_path):
    server = {**SERVER, "components": []}
    done = attach_folder(job(tmp_path, server), tmp_path / "new")
    assert done.unknown[0] == "network: not known"
    given = attach_folder(tmp_path / "job", tmp_path / "other", model=ModelSpec(path="a.b"))
    assert "network: not known" not in given.unknown


def test_a_recipe_is_attached_to_in_one_line():
    calls = []
    packages: list[str] = []
    inner = SimpleNamespace(job=SimpleNamespace(), set_app_packages=packages.extend)
    recipe = SimpleNamespace(
        _job=inner,
        model={"class_path": "their.Net", "args": {"width": 2}},
        add_server_input_filter=lambda f, tasks: calls.append((f.model_path, f.model_args)),
        add_client_output_filter=lambda f, tasks: calls.append((type(f).__name__, tasks)),
        add_server_file=lambda path: calls.append(path),
    )
    attach(recipe, task={"num_classes": 2}, defence_text="percentile_gaussian:sigma0=10")
    assert packages == ["medleak"]
    assert calls[0] == ("their.Net", {"width": 2})
    assert calls[1] == ("PercentileGaussian", ["train"])
    assert calls[2].endswith("medleak.md")


def test_differences_are_set_where_the_job_leaves_the_executors_default(tmp_path):
    client = json.loads(json.dumps(CLIENT))
    del client["executors"][0]["executor"]["args"]["params_transfer_type"]
    done = attach_folder(job(tmp_path, client=client), tmp_path / "new", defence_text="sign")
    (entry,) = config(tmp_path / "new", "client")["executors"]
    assert entry["executor"]["args"]["params_transfer_type"] == "DIFF"
    assert "params_transfer_type is DIFF now" in "; ".join(done.found)


def test_an_executor_of_the_jobs_own_is_not_told_what_it_may_not_know(tmp_path):
    client = json.loads(json.dumps(CLIENT))
    client["executors"][0]["executor"] = {"path": "their.Executor", "args": {"a": 1}}
    done = attach_folder(job(tmp_path, client=client), tmp_path / "new", defence_text="sign")
    (entry,) = config(tmp_path / "new", "client")["executors"]
    assert entry["executor"]["args"] == {"a": 1}
    assert any("which weights their.Executor sends is not known" in line for line in done.found)


def test_the_new_folder_is_not_put_into_the_old_one(tmp_path):
    old = job(tmp_path)
    with pytest.raises(AttachError, match="outside of it"):
        attach_folder(old, old / "app" / "new")
    assert not (old / "app" / "new").exists()


def test_a_job_that_is_attached_to_already_is_refused(tmp_path):
    attach_folder(job(tmp_path), tmp_path / "new")
    with pytest.raises(AttachError, match=r"has medleak\.custom\.recorder\.UpdateRecorder already"):
        attach_folder(tmp_path / "new", tmp_path / "newer")


def test_a_task_that_no_site_takes_is_refused(tmp_path):
    client = json.loads(json.dumps(CLIENT))
    client["executors"][0]["tasks"] = ["fit"]
    with pytest.raises(AttachError, match=r"No site takes the task train.*they take fit"):
        attach_folder(job(tmp_path, client=client), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_workflow_of_the_jobs_own_that_names_no_task_is_said(tmp_path):
    server = {**SERVER, "workflows": [{"path": "their.Controller", "args": {}}]}
    done = attach_folder(job(tmp_path, server), tmp_path / "new")
    assert any("their.Controller does not say which task trains" in line for line in done.found)


SWARM_CLIENT = {
    "format_version": 2,
    "executors": [
        {
            "tasks": ["swarm_*"],
            "executor": {
                "path": "nvflare.app_common.ccwf.swarm_client_ctl.SwarmClientController",
                "args": {"learn_task_ack_timeout": 60},
            },
        },
        {**CLIENT["executors"][0], "tasks": ["train", "validate"]},
    ],
    "components": SERVER["components"],
}
SWARM_SERVER = {
    "format_version": 2,
    "workflows": [
        {
            "id": "swarm_controller",
            "path": "nvflare.app_common.ccwf.swarm_server_ctl.SwarmServerController",
            "args": {"num_rounds": 2},
        }
    ],
}


def test_in_a_swarm_the_recorder_is_at_the_sites(tmp_path):
    done = attach_folder(job(tmp_path, SWARM_SERVER, SWARM_CLIENT), tmp_path / "new")
    client = config(tmp_path / "new", "client")
    added = client["components"][-1]
    assert added["path"] == "medleak.custom.recorder.SwarmRecorder"
    assert added["args"] == {"model_path": "model.SimpleNetwork", "model_args": {"width": 4}}
    assert client["components"][:-1] == SWARM_CLIENT["components"]
    assert config(tmp_path / "new", "server") == SWARM_SERVER
    said = " ".join(done.found)
    assert "each holds what other sites sent" in said
    assert "filters would protect nothing" in said
    with pytest.raises(AttachError, match="SwarmRecorder already"):
        attach_folder(tmp_path / "new", tmp_path / "again")


def test_in_a_swarm_filters_are_refused(tmp_path):
    with pytest.raises(AttachError, match="would protect nothing in a swarm"):
        attach_folder(
            job(tmp_path, SWARM_SERVER, SWARM_CLIENT),
            tmp_path / "new",
            defence_text="percentile_gaussian:sigma0=10",
        )
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("server", "client", "words"),
    [
        (SWARM_SERVER, CLIENT, "swarm in part"),
        (SERVER, SWARM_CLIENT, "swarm in part"),
        (
            {**SWARM_SERVER, "workflows": [*SWARM_SERVER["workflows"], *SERVER["workflows"]]},
            SWARM_CLIENT,
            "has a swarm and nvflare.app_common.workflows.fedavg.FedAvg",
        ),
    ],
)
def test_a_swarm_in_part_is_refused(tmp_path, server, client, words):
    with pytest.raises(AttachError, match=words):
        attach_folder(job(tmp_path, server, client), tmp_path / "new")


def test_the_recipe_of_a_swarm_gets_the_recorder_at_its_sites(tmp_path):
    (tmp_path / "client.py").write_text("print('theirs')")
    recipe = SwarmLearningRecipe(
        name="swarm",
        model={"class_path": "torch.nn.Identity", "args": {}},
        num_rounds=1,
        train_script=str(tmp_path / "client.py"),
        min_clients=2,
    )
    with pytest.raises(AttachError, match="would protect nothing"):
        attach(recipe, defence_text="percentile_gaussian:sigma0=10")
    attach(recipe, model_path="torch.nn.Identity")
    recipe.export(str(tmp_path / "out"))
    client = config(tmp_path / "out" / "swarm", "client")
    (found,) = [c for c in client["components"] if "Recorder" in c["path"]]
    assert found["path"] == "medleak.custom.flare.swarm.recorder.SwarmRecorder"
    assert found["args"]["model_path"] == "torch.nn.Identity"
    assert not (tmp_path / "out" / "swarm" / "app" / "custom" / "medleak").exists()
