"""Tests of what an exported job says of itself, without any of it being run."""

import pytest
import torch

from medleak.custom.flare.foreign_job import (
    AttachError,
    network_of,
    own_filters,
    require_possible,
    spec_of,
    takes,
    tasks_of,
    without_task,
)

FEDAVG = "nvflare.app_common.workflows.fedavg.FedAvg"


class Plain(torch.nn.Linear):
    def __init__(self):
        super().__init__(2, 1)


def test_a_network_as_it_is_has_a_name_only_if_it_takes_no_arguments():
    found = spec_of(Plain())
    assert found is not None
    assert found.path.endswith(".Plain")
    assert spec_of(torch.nn.Linear(2, 1)) is None
    assert spec_of(None) is None


def test_a_network_is_named_by_the_first_component_that_has_one():
    made = {"path": "their.Net", "args": {"width": 2}}
    parts = [{"path": "a.Writer", "args": {}}, {"path": "b.Persistor", "args": {"model": made}}]
    found = network_of({"components": parts})
    assert found is not None
    assert (found.path, found.args) == ("their.Net", {"width": 2})
    assert network_of({"components": parts[:1]}) is None


def test_a_network_that_is_a_component_is_found_by_the_id_that_the_persistor_gives():
    parts = [
        {"id": "model", "path": "their.Net", "args": {"width": 2}},
        {"id": "persistor", "path": "b.Persistor", "args": {"model": "model"}},
    ]
    found = network_of({"components": parts})
    assert found is not None
    assert (found.path, found.args) == ("their.Net", {"width": 2})
    assert network_of({"components": parts[1:]}) is None


def test_the_filters_that_a_job_brings_are_named_by_their_classes():
    chains = [
        {"tasks": ["train"], "filters": [{"path": "a.b.SVTPrivacy", "args": {}}]},
        {"tasks": ["validate"], "filters": [{"path": "a.b.Other", "args": {}}]},
        {"tasks": ["tr*"], "direction": "in", "filters": [{"path": "a.b.OnReceipt"}]},
    ]
    assert own_filters({"task_result_filters": chains}, ["train"]) == ["SVTPrivacy"]
    assert own_filters({}, ["train"]) == []


def test_tasks_are_those_that_the_workflows_name_each_once():
    named = [{"args": {"train_task_name": "fit"}}, {"args": {"task_name": "fit"}}, {"args": {}}]
    assert tasks_of({"workflows": named}) == ["fit", "train"]
    assert tasks_of({}) == ["train"]


def test_only_a_workflow_of_the_jobs_own_leaves_it_open_which_task_trains():
    theirs = {"path": "their.Controller", "args": {}}
    assert without_task({"workflows": [{"path": FEDAVG, "args": {}}, theirs]}) == [theirs["path"]]
    assert without_task({"workflows": [{**theirs, "args": {"task_name": "fit"}}]}) == []


def test_an_entry_takes_a_task_by_its_name_or_by_a_pattern():
    assert takes({"tasks": ["*"]}, ["train"])
    assert takes({"tasks": ["tr*"]}, ["validate", "train"])
    assert not takes({"tasks": ["validate"]}, ["train"])
    assert not takes({}, ["train"])


@pytest.mark.parametrize(
    "path",
    [
        "nvflare.app_opt.flower.controller.FlowerController",
        "mylab.swarm.OwnSwarmController",
        "nvflare.app_common.ccwf.cyclic_server_ctl.CyclicServerController",
        "nvflare.app_opt.xgboost.histogram_based_v2.fed_controller.XGBFedController",
        "nvflare.app_opt.he.model_encryptor.HEModelEncryptor",
        "nvflare.app_opt.tensor_stream.server.TensorServerStreamer",
        "nvflare.app_common.psi.dh_psi.dh_psi_controller.DhPSIController",
    ],
)
def test_where_no_update_would_pass_the_recorder_the_class_is_named(path):
    with pytest.raises(AttachError, match=path):
        require_possible([{"components": [{"path": path, "args": {}}]}])


def test_what_is_no_class_is_not_taken_for_one():
    words = {"name": "flower_photos", "psi": "x.psi.y"}
    require_possible([{"workflows": [{"path": FEDAVG}], **words}])
    flower = "nvflare.app_opt.flower.controller.FlowerController"
    with pytest.raises(AttachError, match=flower):
        require_possible([{"workflows": [{"path": flower}], **words}])
