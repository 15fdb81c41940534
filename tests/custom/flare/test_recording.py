"""Tests of what both recorders have in common, without NVFlare's calls."""

import numpy as np
import pytest
from nvflare.apis.dxo import DXO, DataKind

from medleak.custom.flare.recording import Recording, declared
from medleak.custom.record import RecordError, list_updates, read_manifest, read_record

MODEL = {"w": np.arange(4, dtype=np.float32)}
NOTHING = declared(None, None, None, None, None)


def update(size=0.5, **meta):
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
        recording.sent_to(site, 3, DXO(DataKind.WEIGHTS, data=MODEL))
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
    recording.answer("a", 0, MODEL, update(), say=print, warn=print)
    np.testing.assert_array_equal(read_record(tmp_path, 0, "a").global_state["w"], MODEL["w"])


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
    recording.sent_to("a", 0, DXO(DataKind.WEIGHTS, data=MODEL))
    assert recording.foretell({"a"}, 2) != ""
    assert recording.foretell({"a"}, 2) == ""


def test_a_declaration_that_no_manifest_can_have_is_refused_at_once():
    with pytest.raises(ValueError, match=r"cannot use .*num_classes"):
        Recording(declared("a.b", None, {"num_classes": 0}, None, None))
