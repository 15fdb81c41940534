"""Tests of what both recorders have in common: what is kept, left out, and unknown."""

import errno
import sys
from typing import Any

import numpy as np
import pytest
from nvflare.apis.dxo import DXO, DataKind
from safetensors.numpy import load_file
from tests.custom.flare.server import HP, MODEL, UPDATE, Server, server

from medleak.custom.flare.recorder import UpdateRecorder
from medleak.custom.flare.recording import Recording
from medleak.custom.record import (
    RecordError,
    files,
    list_updates,
    read_manifest,
    read_record,
    verify,
)
from medleak.filters.privacy.controls import CONTROLS

__all__ = ["server"]

WEIGHTS = {"w": np.arange(4, dtype=np.float32)}
NOTHING: dict[str, Any] = {}


def update(size: float = 0.5, **meta: Any):
    data = {"w": np.full(4, size, np.float32)}
    return DXO(DataKind.WEIGHT_DIFF, data=data, meta=meta).to_shareable()


def recorded(recording, *answers):
    said = []
    for site, round in answers:
        recording.received(site, round, update(), say=said.append, warn=said.append)
    return said


def test_models_that_went_and_updates_that_came_make_a_record(tmp_path):
    recording = Recording(NOTHING)
    recording.begin(tmp_path / "records", "a job")
    for site in ("a", "b"):
        recording.sent_to(site, 3, DXO(DataKind.WEIGHTS, data=WEIGHTS))
    said = recorded(recording, ("a", 3), ("b", 3))
    assert [text.split(" in ")[0] for text in said] == [
        "Recorded round 3 of a",
        "Recorded round 3 of b",
    ]
    assert recording.root is not None
    assert list_updates(recording.root) == [(3, "a"), (3, "b")]
    assert read_manifest(recording.root).job == "a job"


def test_an_update_to_a_model_that_nobody_saw_go_is_refused_and_one_that_is_given_is_not(tmp_path):
    recording = Recording(NOTHING)
    recording.begin(tmp_path, "x")
    with pytest.raises(RecordError, match="does not belong to the model"):
        recorded(recording, ("a", 0))
    recording.answer("a", 0, WEIGHTS, update(), say=print, warn=print)
    np.testing.assert_array_equal(read_record(tmp_path, 0, "a").global_state["w"], WEIGHTS["w"])


def test_before_it_is_begun_nothing_is_taken_and_silence_is_nowhere(tmp_path):
    recording = Recording(NOTHING)
    recording.silent("nothing came")
    assert recording.root is None
    with pytest.raises(RecordError, match="never begun"):
        recorded(recording, ("a", 0))
    with pytest.raises(RecordError, match="never begun"):
        recording.leave_out(0, "a", "why")


def test_what_the_budget_will_leave_out_is_foretold_once(tmp_path):
    recording = Recording(NOTHING, disk_budget_mb=16e-6)
    recording.begin(tmp_path, "x")
    assert recording.foretell({"a"}, 2) == ""  # no model has gone out
    recording.sent_to("a", 0, DXO(DataKind.WEIGHTS, data=WEIGHTS))
    assert recording.foretell({"a"}, 2) != ""
    assert recording.foretell({"a"}, 2) == ""


def test_a_declaration_that_no_manifest_can_have_is_refused_at_once():
    with pytest.raises(ValueError, match=r"cannot use .*num_classes"):
        Recording({"task": {"num_classes": 0}})


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


def test_a_full_disk_stops_the_job_and_leaves_no_half_record(server, monkeypatch):
    server.send()

    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "write_atomic", full)
    with pytest.raises(RecordError, match="no space left on the disk"):
        server.receive()
    assert list_updates(server.records) == []


def test_sites_that_were_sent_different_models_stop_the_job(server):
    server.send()
    server.send(model={**MODEL, "w": MODEL["w"] + 1})
    with pytest.raises(RecordError, match="different models in round 0"):
        server.receive()


def test_an_encrypted_model_foretells_nothing_and_the_job_goes_on(tmp_path):
    vector = type("Vector", (), {"__module__": "tenseal.tensors"})
    recording = Recording(NOTHING, disk_budget_mb=1.0)
    recording.begin(tmp_path, "x")
    recording.sent_to("a", 0, DXO(DataKind.WEIGHTS, data={"w": vector()}))
    assert recording.foretell({"a"}, 2) == ""


@pytest.mark.parametrize(("bytes", "kept"), [(47, 0), (63, 0), (64, 1)])
def test_what_comes_beside_an_update_counts_for_the_budget_too(tmp_path, bytes, kept):
    """16 bytes each: the model, the update, its controls, and the update that these tell."""
    recording = Recording(NOTHING, disk_budget_mb=bytes / 1e6)
    recording.begin(tmp_path, "x")
    recording.sent_to("a", 0, DXO(DataKind.WEIGHTS, data=WEIGHTS))
    controls = {"w": np.array([1, -2, 3, -4], np.float32)}
    meta: dict[str, Any] = {"hp": HP, CONTROLS: controls}
    recording.received("a", 0, update(**meta), say=print, warn=print)
    arrays = [value for path in tmp_path.rglob("*.safetensors") for value in load_file(path)]
    assert 16 * len(arrays) <= bytes
    assert len(list_updates(tmp_path)) == 2 * kept
