"""Tests of medleak.custom.flare.recorder."""

import errno
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey, ReservedKey, ReturnCode
from nvflare.apis.fl_context import FLContext, FLContextManager
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.ccwf.swarm_server_ctl import SwarmServerController
from nvflare.app_common.workflows.fedavg import FedAvg
from nvflare.app_opt.flower.controller import FlowerController
from nvflare.app_opt.tensor_stream.server import TensorServerStreamer

from medleak.custom.flare.recorder import UpdateRecorder
from medleak.custom.record import (
    RecordError,
    files,
    list_updates,
    read_beside,
    read_manifest,
    read_record,
    strays,
    verify,
)
from medleak.filters.privacy.controls import CONTROLS, SERVERS

HP = {"n_images": 4, "n_steps": 1, "batch_size": 4, "local_epochs": 1, "lr": 0.01}
MODEL = {
    "w": np.arange(4, dtype=np.float32),
    "bn.num_batches_tracked": np.array(1, np.int64),
}
UPDATE = {"w": np.full(4, 0.5, np.float32), "bn.num_batches_tracked": np.float64(1)}


class Server:
    """The calls that NVFlare's server makes to the recorder, in its order."""

    def __init__(self, run_dir, **kwargs):
        self.run_dir = run_dir
        declared = {
            "model_path": "medleak.custom.networks.resnet18",
            "model_args": {"num_classes": 2},
            "task": {"num_classes": 2},
            "input": {"spatial_size": [8, 8], "channels": 1},
        }
        self.recorder = UpdateRecorder(**declared | kwargs)
        self.fire(EventType.START_RUN)

    def context(self, site="site-1", task="train", **props) -> FLContext:
        engine = SimpleNamespace(
            get_workspace=lambda: SimpleNamespace(get_run_dir=lambda job_id: str(self.run_dir)),
            fire_event=lambda event, context: None,
            get_clients=lambda: [SimpleNamespace(name=f"site-{k}") for k in (1, 2)],
        )
        context = FLContextManager(engine=engine, identity_name="server", job_id="j").new_context()
        peer = FLContext()
        peer.set_prop(ReservedKey.IDENTITY_NAME, site, private=False, sticky=False)
        context.set_peer_context(peer)
        for key, value in {FLContextKey.TASK_NAME: task, **props}.items():
            context.set_prop(key, value, private=True, sticky=False)
        return context

    def fire(self, event, **props):
        self.recorder.handle_event(event, self.context(**props))

    def send(self, round=0, model=None, task="train", site="site-1", rounds=None):
        data = DXO(DataKind.WEIGHTS, data=model or MODEL).to_shareable()
        data.set_header(AppConstants.NUM_ROUNDS, rounds)
        data.set_header(AppConstants.CURRENT_ROUND, round)
        props = {FLContextKey.TASK_DATA: data}
        self.fire(EventType.AFTER_TASK_DATA_FILTER, site=site, task=task, **props)

    def receive(self, site="site-1", round=0, update=None, kind=DataKind.WEIGHT_DIFF, **meta):
        dxo = DXO(kind, data=UPDATE if update is None else update, meta={"hp": HP, **meta})
        reply = dxo.to_shareable()
        reply.add_cookie(AppConstants.CONTRIBUTION_ROUND, round)
        return self.recorder.process(reply, self.context(site))

    @property
    def records(self):
        return self.run_dir / "records"


@pytest.fixture
def server(tmp_path):
    return Server(tmp_path)


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


def test_full_weights_are_recorded_as_their_difference(server):
    server.send()
    server.receive(update={"w": MODEL["w"] + 2}, kind=DataKind.WEIGHTS)
    np.testing.assert_array_equal(read_record(server.records, 0, "site-1").update["w"], [2.0] * 4)


def test_later_changes_of_the_model_in_memory_do_not_reach_the_record(server):
    model = {k: v.copy() for k, v in MODEL.items()}
    server.send(model=model)
    server.receive()
    model["w"] += 1
    np.testing.assert_array_equal(
        read_record(server.records, 0, "site-1").global_state["w"], MODEL["w"]
    )


def test_every_n_rounds_sites_and_budget_leave_out_and_say_so(tmp_path):
    server = Server(tmp_path, every_n_rounds=2, sites=["site-1"], disk_budget_mb=1e-4)
    for round in range(5):
        for site in ("site-1", "site-2"):
            server.send(round=round, site=site)
        for site in ("site-1", "site-2"):
            server.receive(site, round)
    assert list_updates(server.records) == [(0, "site-1"), (2, "site-1")]
    reasons = {(x.round, x.site): x.reason for x in read_manifest(server.records).left_out}
    assert reasons[0, "site-2"] == "sites"
    assert reasons[1, "site-1"] == "every_n_rounds=2"
    assert reasons[4, "site-1"] == "disk_budget_mb=0.0001"


def test_what_a_budget_leaves_out_is_said_when_the_first_model_goes_out(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(
        UpdateRecorder, "log_warning", lambda self, context, text: said.append(text)
    )
    rounds, a_round = 5, 3 * (16 + 8)  # the model, and an update of each of two sites
    server = Server(tmp_path, disk_budget_mb=2.7 * a_round / 1e6)
    for round in range(rounds):
        for site in ("site-1", "site-2"):
            server.send(round=round, site=site, rounds=rounds)
        for site in ("site-1", "site-2"):
            server.receive(site, round)
    left_out = read_manifest(server.records).left_out
    (foretold,) = said
    assert f"{len(left_out)} of 10 updates will be left out, those from round 2 on" in foretold
    assert len(left_out) == 5
    assert "every_n_rounds=3 would keep" in foretold


@pytest.mark.parametrize(("budget", "rounds"), [(1.0, 5), (1e-4, None), (None, 5)])
def test_a_budget_that_holds_or_a_run_of_unknown_length_foretells_nothing(
    tmp_path, monkeypatch, budget, rounds
):
    said = []
    monkeypatch.setattr(
        UpdateRecorder, "log_warning", lambda self, context, text: said.append(text)
    )
    server = Server(tmp_path, disk_budget_mb=budget)
    server.send(rounds=rounds)
    server.receive()
    assert said == []


def test_a_recorder_compresses_without_loss(tmp_path):
    server = Server(tmp_path, compress=True)
    server.send()
    server.receive()
    assert (server.records / "round_0000" / "site-1.safetensors.zst").is_file()
    np.testing.assert_array_equal(read_record(server.records, 0, "site-1").update["w"], UPDATE["w"])


def test_a_recorder_that_cannot_compress_says_so_before_the_first_update(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zstandard", None)
    server = Server(tmp_path, compress=True)
    server.send()
    with pytest.raises(RecordError, match=r"medleak\[zstd\]"):
        server.receive()


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


@pytest.mark.parametrize("hp", [None, "fast", {}, {"speed": 3}])
def test_a_site_that_does_not_say_how_it_trained_is_recorded_all_the_same(server, hp):
    server.send()
    server.receive(hp=hp)
    found = read_record(server.records, 0, "site-1").info
    assert set(found.sources.values()) == {"unknown"}
    assert found.lr is None


@pytest.mark.parametrize(
    ("field", "value"),
    [("lr", float("nan")), ("lr", 0.0), ("local_epochs", 0.5), ("n_images", "many")],
)
def test_what_no_training_has_is_recorded_as_unknown_and_the_rest_as_declared(
    server, field, value, caplog
):
    server.send()
    server.receive(hp={**HP, field: value})
    found = read_record(server.records, 0, "site-1").info
    assert getattr(found, field) is None
    assert found.sources[field] == "unknown"
    assert {found.sources[f] for f in HP if f != field} == {"declared"}
    assert f"recorded as unknown what no training has: {field}" in caplog.text


def test_a_schedule_may_hold_numbers_of_numpy(server):
    server.send()
    server.receive(hp={**HP, "n_images": np.int64(7), "lr": np.float32(0.5)})
    found = read_record(server.records, 0, "site-1").info
    assert (found.n_images, found.lr) == (7, 0.5)


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


def test_an_update_of_a_stale_round_stops_the_job(server):
    server.send(round=1)
    with pytest.raises(RecordError, match="does not belong to the model"):
        server.receive(round=0)


@pytest.fixture
def vector():
    """A number that only the holder of the key can read."""
    tenseal = pytest.importorskip("tenseal", reason="needs the extra he")
    context = tenseal.context(tenseal.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[60, 40, 40, 60])
    context.global_scale = 2.0**40
    return tenseal.ckks_vector(context, [0.5] * 4)


def test_encrypted_updates_are_said_to_be_left_out_and_the_job_goes_on(server, vector):
    for round, model in enumerate([MODEL, {"w": vector}]):
        server.send(round=round, model=model)
        reply = server.receive(round=round, update={"w": vector})
        assert isinstance(reply, Shareable)
    assert list_updates(server.records) == []
    reasons = [(x.round, x.reason) for x in read_manifest(server.records).left_out]
    nothing = "encrypted homomorphically: there is nothing to audit at the server"
    assert reasons == [(0, nothing), (1, nothing)]


def test_an_update_that_is_encrypted_in_part_is_not_called_unreadable(server, vector):
    server.send()
    server.receive(update={**UPDATE, "w": vector})
    (left_out,) = read_manifest(server.records).left_out
    assert left_out.reason.startswith("1 of 2 tensors are encrypted")
    assert "nothing to audit" not in left_out.reason


def test_an_unknown_payload_stops_the_job(server):
    server.send()
    with pytest.raises(RecordError, match="cannot be recorded"):
        server.receive(kind=DataKind.ANALYTIC)


def test_a_model_that_sites_pass_on_is_recorded_with_the_update_of_each(server):
    models = [{**MODEL, "w": MODEL["w"] + k} for k in range(3)]
    for site, model in zip(("site-1", "site-2", "site-3"), models, strict=True):
        server.send(model=model, site=site)
        server.receive(site)
    for site, model in zip(("site-1", "site-2", "site-3"), models, strict=True):
        found = read_record(server.records, 0, site)
        np.testing.assert_array_equal(found.global_state["w"], model["w"])
    assert [problem for *_, problem in verify(server.records)] == [None] * 3
    kept = list((server.records / "round_0000" / "models").iterdir())
    assert len(kept) == 2
    kept[0].write_bytes(kept[1].read_bytes())
    assert [problem for *_, problem in verify(server.records)].count(None) == 2


ODD = {
    "bool": ({**UPDATE, "bn.num_batches_tracked": np.array(True)}, "bool"),
    "sparse": ({**UPDATE, "w": torch.ones(4).to_sparse()}, "sparse"),
    "nested": ({**UPDATE, "w": {"a": np.ones(4)}}, "collection"),
    "another name": ({**UPDATE, "x": np.ones(4)}, "not in the model"),
    "another shape": ({**UPDATE, "w": np.ones(1, np.float32)}, "has shape"),
    "NaN": ({**UPDATE, "w": np.full(4, np.nan, np.float32)}, "NaN or inf"),
    "wrapped": ({**UPDATE, "bn.num_batches_tracked": np.array(2**63 - 1)}, "wrapped around"),
}


# A whole weight may be any of its type: the difference is computed here, and cannot wrap.
_OF_A_DIFFERENCE = ("wrapped", "bool")


@pytest.mark.parametrize(
    ("what", "kind"),
    [(w, k) for w in ODD for k in ("WEIGHT_DIFF", "WEIGHTS")[: 2 - (w in _OF_A_DIFFERENCE)]],
)
def test_what_cannot_be_read_back_is_refused_by_name_before_anything_is_written(server, what, kind):
    update, words = ODD[what]
    server.send()
    with pytest.raises(RecordError, match=f"Round 0, site site-1: .*{words}"):
        server.receive(update=update, kind=kind)
    assert not list(server.records.glob("round_*"))


def test_short_floats_are_recorded_exactly_as_difference_and_as_whole_weights(tmp_path):
    for dtype in (torch.bfloat16, torch.float16):
        sent, local = torch.tensor([1.0, 3.0]).to(dtype), torch.tensor([0.1, 3.0]).to(dtype)
        for kind, value in ((DataKind.WEIGHT_DIFF, local), (DataKind.WEIGHTS, local)):
            server = Server(tmp_path / f"{dtype}-{kind}")
            server.send(model={"w": sent})
            server.receive(update={"w": value}, kind=kind)
            found = read_record(server.records, 0, "site-1")
            whole = kind == DataKind.WEIGHTS
            expected = local.double() - (sent.double() if whole else 0)
            np.testing.assert_array_equal(found.update["w"].astype(float), expected.numpy())
            np.testing.assert_array_equal(found.global_state["w"].astype(float), sent.double())


def test_sites_that_were_sent_different_models_stop_the_job(server):
    server.send()
    server.send(model={**MODEL, "w": MODEL["w"] + 1})
    with pytest.raises(RecordError, match="different models in round 0"):
        server.receive()


def test_a_full_disk_stops_the_job_and_leaves_no_half_record(server, monkeypatch):
    server.send()

    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "write_atomic", full)
    with pytest.raises(RecordError, match="no space left on the disk"):
        server.receive()
    assert list_updates(server.records) == []


def test_what_fails_in_an_event_handler_is_raised_where_it_counts(tmp_path):
    (tmp_path / "records").write_text("a file where the folder should be")
    server = Server(tmp_path)
    server.send()
    with pytest.raises(RecordError, match="Recording failed"):
        server.receive()


@pytest.mark.parametrize(
    ("argument", "value"),
    [("every_n_rounds", 0), ("disk_budget_mb", 0), ("disk_budget_mb", float("nan"))],
)
def test_settings_that_would_record_nothing_are_refused(tmp_path, argument, value):
    with pytest.raises(ValueError, match=argument):
        Server(tmp_path, **{argument: value})


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


def scaffold(server, controls, **meta):
    """A round of SCAFFOLD: the server's control is 0.25, K times lr is 0.02."""
    data = DXO(DataKind.WEIGHTS, data=MODEL, meta={SERVERS: {"w": np.full(4, 0.25, np.float32)}})
    task = data.to_shareable()
    task.set_header(AppConstants.CURRENT_ROUND, 0)
    server.fire(EventType.AFTER_TASK_DATA_FILTER, **{FLContextKey.TASK_DATA: task})
    server.receive(**{CONTROLS: {"w": torch.as_tensor(controls, dtype=torch.float32)}, **meta})


def test_control_variates_are_recorded_under_their_own_name(server):
    bare = -0.25 - UPDATE["w"] / 0.01
    scaffold(server, bare)
    assert list_updates(server.records) == [(0, "site-1")]
    beside = read_beside(server.records, 0, "site-1")
    np.testing.assert_array_equal(beside[CONTROLS]["w"], bare.astype(np.float32))
    assert all(error is None for _, _, error in verify(server.records))
    assert strays(server.records) == []
    file = server.records / "round_0000" / "beside" / "site-1.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    assert "SHA-256" in next(e for _, _, e in verify(server.records) if e)


def test_control_variates_in_clear_beside_a_noised_update_are_recorded_as_the_update(server):
    bare = np.array([1, -2, 3, -4], np.float32)
    noise = [{"name": "percentile_gaussian"}]
    scaffold(server, -0.25 - bare / 0.01, medleak_defences=noise)
    assert list_updates(server.records) == [(0, "site-1"), (0, f"site-1.{CONTROLS}")]
    found = read_record(server.records, 0, f"site-1.{CONTROLS}")
    np.testing.assert_allclose(found.update["w"], bare, rtol=1e-5)
    assert found.info.defences == ()
    assert found.info.lr == 0.01


def test_without_a_schedule_the_size_of_what_they_tell_is_unknown_and_said(server):
    scaffold(server, np.array([1, -2, 3, -4]), hp=None)
    assert list_updates(server.records) == [(0, "site-1")]
    (left_out,) = read_manifest(server.records).left_out
    assert left_out.site == f"site-1.{CONTROLS}"
    assert "tells another update" in left_out.reason


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
