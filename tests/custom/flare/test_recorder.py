"""Tests of medleak.custom.flare.recorder."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey, ReturnCode
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.app_common.ccwf.swarm_server_ctl import SwarmServerController
from nvflare.app_common.workflows.fedavg import FedAvg
from nvflare.app_opt.flower.controller import FlowerController
from nvflare.app_opt.tensor_stream.server import TensorServerStreamer
from tests.custom.flare.server import MODEL, UPDATE, Server, server

from medleak.custom.record import RecordError, list_updates, read_manifest, read_record

__all__ = ["server"]


def test_what_was_sent_and_received_is_recorded_as_it_came(server):
    server.send(round=3)
    reply = server.receive(round=3, medleak_defences=[{"name": "noise", "sigma0": 1.0}])
    assert isinstance(reply, Shareable)
    found = read_record(server.records, 3, "site-1")
    np.testing.assert_array_equal(found.global_state["w"], MODEL["w"])
    np.testing.assert_array_equal(found.update["w"], UPDATE["w"])
    assert found.update["bn.num_batches_tracked"].dtype == np.float64
    assert found.info.n_images == 4
    assert found.info.defences == ({"name": "noise", "sigma0": 1.0},)
    assert found.manifest.versions["nvflare"]


def test_later_changes_of_the_model_in_memory_do_not_reach_the_record(server):
    model = {k: v.copy() for k, v in MODEL.items()}
    server.send(model=model)
    server.receive()
    model["w"] += 1
    np.testing.assert_array_equal(
        read_record(server.records, 0, "site-1").global_state["w"], MODEL["w"]
    )


def test_other_tasks_and_failed_replies_pass_without_a_record(server):
    server.send(task="validate")
    failed = make_reply(ReturnCode.TASK_RESULT_FILTER_ERROR)
    assert server.recorder.process(failed, server.context()) is failed
    answer = DXO(DataKind.METRICS, data={"accuracy": 1.0}).to_shareable()
    assert server.recorder.process(answer, server.context(task="validate")) is answer
    assert list_updates(server.records) == []


@pytest.mark.parametrize("site", ["../evil", "a/b", "global", ""])
def test_a_site_that_names_itself_as_a_path_stops_the_job(server, site):
    server.send()
    with pytest.raises(RecordError, match="not usable"):
        server.receive(site)


def test_an_update_of_a_stale_round_stops_the_job(server):
    server.send(round=1)
    with pytest.raises(RecordError, match="does not belong to the model"):
        server.receive(round=0)


def test_what_fails_in_an_event_handler_is_raised_where_it_counts(tmp_path):
    (tmp_path / "records").write_text("a file where the folder should be")
    server = Server(tmp_path)
    server.send()
    with pytest.raises(RecordError, match="Recording failed"):
        server.receive()


def test_a_run_in_which_nothing_came_is_called_so_in_log_and_record(server, caplog):
    server.send(task="config")
    server.fire(EventType.END_RUN)
    assert "Nothing was recorded" in caplog.text
    silence = read_manifest(server.records).silence
    assert "no result of the task train came by" in silence
    assert "config" in silence


def test_sites_that_answered_with_errors_alone_are_counted_in_the_reason(server, caplog):
    for site in ("site-1", "site-2"):
        server.send(site=site)
        reply = make_reply(ReturnCode.TASK_RESULT_FILTER_ERROR)
        server.recorder.process(reply, server.context(site))
    server.fire(EventType.END_RUN)
    silence = read_manifest(server.records).silence
    assert "sites answered with errors (2 of TASK_RESULT_FILTER_ERROR)" in silence


def test_a_run_with_an_update_ends_without_a_word(server, caplog):
    server.send()
    server.receive()
    server.fire(EventType.END_RUN)
    assert "Nothing was recorded" not in caplog.text
    assert read_manifest(server.records).silence == ""


def test_an_update_that_was_left_out_is_no_silence(tmp_path):
    server = Server(tmp_path, sites=["site-9"])
    server.send()
    server.receive()
    server.fire(EventType.END_RUN)
    assert read_manifest(server.records).silence == ""


@pytest.mark.parametrize(
    ("controllers", "stopped"),
    [
        ([SwarmServerController], True),
        ([FlowerController, SwarmServerController], True),
        ([SwarmServerController, FedAvg], False),
        ([], False),
    ],
)
def test_a_job_that_sends_no_update_by_the_server_is_stopped_when_it_starts(
    tmp_path, controllers, stopped
):
    server = Server(tmp_path)
    fired = []
    made = [SimpleNamespace(controller=object.__new__(kind)) for kind in controllers]
    runner = SimpleNamespace(config=SimpleNamespace(workflows=made))
    context = server.context()
    context.set_prop(FLContextKey.RUNNER, runner, private=True, sticky=False)
    engine: Any = context.get_engine()
    engine.fire_event = lambda event, ctx: fired.append(
        (event, ctx.get_prop(FLContextKey.EVENT_DATA))
    )
    server.recorder.handle_event(EventType.START_RUN, context)
    assert [event for event, _ in fired] == [EventType.FATAL_SYSTEM_ERROR] * stopped
    server.recorder.handle_event(EventType.END_RUN, context)
    silence = read_manifest(server.records).silence
    assert ("SwarmServerController: a swarm" in silence) == stopped
    if stopped:
        assert "SwarmServerController: a swarm" in fired[0][1]


def test_a_job_whose_tensors_are_streamed_past_the_recorder_is_stopped_when_it_starts(tmp_path):
    server = Server(tmp_path)
    parts = {"streamer": object.__new__(TensorServerStreamer)}
    runner = SimpleNamespace(config=SimpleNamespace(workflows=[], components=parts))
    context = server.context()
    context.set_prop(FLContextKey.RUNNER, runner, private=True, sticky=False)
    fired = []
    engine: Any = context.get_engine()
    engine.fire_event = lambda event, ctx: fired.append(ctx.get_prop(FLContextKey.EVENT_DATA))
    server.recorder.handle_event(EventType.START_RUN, context)
    assert "TensorServerStreamer streams the model's tensors" in fired[0]
