"""Tests of medleak.custom.flare.component: what both recorders are told."""

import pytest
from nvflare.apis.fl_context import FLContext
from nvflare.job_config.fed_job_config import FedJobConfig
from tests.custom.flare.server import Server

from medleak.custom.flare.component import run_dir_of, site_of
from medleak.custom.flare.recorder import UpdateRecorder
from medleak.custom.flare.swarm.recorder import SwarmRecorder
from medleak.custom.record import RecordError, read_record

ARGUMENTS = {
    "model_path": "medleak.custom.networks.resnet18",
    "model_args": {"num_classes": 2},
    "task": {"num_classes": 2},
    "input": {"spatial_size": [8, 8], "channels": 1},
    "class_names": ["no", "yes"],
    "every_n_rounds": 2,
    "sites": ["site-1"],
    "disk_budget_mb": 5.0,
    "compress": True,
}


@pytest.mark.parametrize(
    ("kind", "more"),
    [(UpdateRecorder, {"tasks": ["learn"]}), (SwarmRecorder, {})],
)
def test_an_exported_job_has_all_that_its_recorder_was_told(kind, more):
    told = ARGUMENTS | more
    assert FedJobConfig("a job", 1)._get_args(kind(**told), "") == told


@pytest.mark.parametrize("kind", [UpdateRecorder, SwarmRecorder])
def test_an_argument_that_a_recorder_has_not_is_refused(kind):
    with pytest.raises(TypeError, match="every_n"):
        kind(every_n=2)


def test_a_peer_or_engine_that_nvflare_does_not_give_is_none():
    assert site_of(FLContext()) == ""
    with pytest.raises(RecordError, match="no engine"):
        run_dir_of(FLContext())


def test_a_recorder_without_a_word_about_the_job_records(tmp_path):
    server = Server(tmp_path, model_path=None, model_args=None, task=None, input=None)
    server.send()
    server.receive()
    manifest = read_record(server.records, 0, "site-1").manifest
    assert (manifest.model, manifest.task, manifest.input) == (None, None, None)
    assert set(manifest.sources.values()) == {"unknown"}


def test_volumes_of_four_channels_are_recorded(tmp_path):
    spec = {"spatial_size": [32, 32, 24], "channels": 4}
    server = Server(tmp_path, input=spec, task={"criterion": "dice", "num_classes": 3})
    server.send()
    server.receive()
    found = read_record(server.records, 0, "site-1").manifest.known_input()
    assert (found.spatial_size, found.channels) == ((32, 32, 24), 4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"input": {"spatial_size": [8], "channels": 1}},
        {"task": {"num_classes": 2, "criterion": "hinge"}},
        {"input": {"spatial_size": [8, 8], "channels": 4, "mean": [0.5] * 3}},
    ],
)
def test_a_declaration_that_cannot_be_recorded_is_refused_when_the_job_is_made(tmp_path, wrong):
    with pytest.raises(ValueError, match=r"The recorder cannot use .*leave it out"):
        Server(tmp_path, **wrong)


@pytest.mark.parametrize(
    ("argument", "value"),
    [("every_n_rounds", 0), *(("disk_budget_mb", mb) for mb in (0, float("nan"), float("inf")))],
)
def test_settings_that_would_record_nothing_are_refused(tmp_path, argument, value):
    with pytest.raises(ValueError, match=argument):
        Server(tmp_path, **{argument: value})
