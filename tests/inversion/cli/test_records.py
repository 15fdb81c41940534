"""Tests of medleak records."""

import json

import pytest
import torch
from tests.inversion.cli.commands import flip_a_byte, medleak, refused

from medleak.custom.record import LeftOut, read_manifest, read_record, verify, write_manifest

pytestmark = pytest.mark.usefixtures("here")


def test_records_ls_shows_who_sent_what(make_run):
    declared = ({"name": "percentile_gaussian", "args": {"sigma0": 10.0}},)
    make_run({"site-1": 2, "site-9": 1}, rounds=(0, 3), defences=declared)
    result = medleak("records", "ls")
    assert result.exit_code == 0
    assert result.output.count("percentile_gaussian:sigma0=10.0") == 4
    content = json.loads(medleak("records", "ls", "--json").stdout)
    assert [(u["round"], u["site"], u["n_images"]) for u in content["updates"]] == [
        (0, "site-1", 2),
        (0, "site-9", 1),
        (3, "site-1", 2),
        (3, "site-9", 1),
    ]
    assert content["manifest"]["job"] == "small"


def test_records_ls_names_a_damaged_sidecar_and_lists_the_rest(make_run):
    run = make_run({"site-1": 1, "site-2": 1})
    (run.records / "round_0000" / "site-1.json").write_text("{")
    result = medleak("records", "ls")
    assert "round 0, site-1" in refused(result, 1)
    assert "site-2" in result.stdout


def test_records_verify_tells_sound_from_damaged(make_run):
    run = make_run({"site-1": 1, "site-2": 1})
    result = medleak("records", "verify")
    assert (result.exit_code, "2 of 2 updates" in result.output) == (0, True)
    flip_a_byte(run.records / "round_0000" / "site-2.safetensors")
    result = medleak("records", "verify", "--json")
    assert "site-2" in refused(result, 1)
    assert [u["ok"] for u in json.loads(result.stdout)["updates"]] == [True, False]


@pytest.mark.parametrize("command", [("records", "ls"), ("records", "verify"), ("audit",)])
def test_a_record_without_an_update_is_not_known_to_be_sound(make_run, command):
    run = make_run({"site-1": 1})
    for path in (run.records / "round_0000").iterdir():
        path.unlink()
    (run.records / "round_0000").rmdir()
    assert "holds a manifest and no update" in refused(medleak(*command), 3)


def test_what_is_read_as_no_update_is_named_and_the_rest_is_verified(make_run):
    run = make_run({"site-1": 1, "site-2": 1})
    (run.records / "round_0000" / "site-2.json").unlink()
    result = medleak("records", "verify", "--json")
    assert "round_0000/site-2.safetensors has no .json" in refused(result, 3)
    content = json.loads(result.stdout)
    assert [u["ok"] for u in content["updates"]] == [True]
    assert content["not_read"] == ["round_0000/site-2.safetensors has no .json"]
    assert medleak("records", "ls").exit_code == 3


def test_what_the_recorder_left_out_is_said(make_run):
    run = make_run({"site-1": 1})
    manifest = read_manifest(run.records)
    left_out = (LeftOut(round=0, site="site-7", reason="over the disk budget"),)
    write_manifest(run.records, manifest.model_copy(update={"left_out": left_out}))
    result = medleak("records", "verify")
    assert result.exit_code == 0
    assert "1 updates arrived and were not recorded (1: over the disk budget)" in result.stdout


def test_two_state_dicts_become_a_record(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = {"w": torch.ones(3), "b": torch.zeros(1)}
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, "before.pt")
    torch.save({f"module.{k}": v + 1 for k, v in state.items()}, "after.pt")
    said = ("--schedule", "n_images=4,lr=0.1", "--input", "8x8x1", "--out", "run")
    done = medleak("records", "import", "before.pt", "after.pt", *said)
    assert done.exit_code == 0, done.output
    assert "2 of 2 tensors" in done.stdout
    found = read_record(tmp_path / "run", 0, "site-1")
    assert found.update["w"].tolist() == [1, 1, 1]
    assert (found.info.lr, found.info.sources["lr"]) == (0.1, "given")
    assert found.manifest.sources["input"] == "given"
    more = medleak("records", "import", "before.pt", "after.pt", "--round", "1", "--out", "run")
    assert more.exit_code == 0, more.output
    assert [problem for *_, problem in verify(tmp_path / "run")] == [None, None]
    assert read_record(tmp_path / "run", 1, "site-1").manifest.input is not None


def test_a_pickle_is_not_imported(tmp_path):
    (tmp_path / "bad.pt").write_bytes(b"cos\nsystem\n(S'echo ran'\ntR.")
    line = refused(medleak("records", "import", tmp_path / "bad.pt", tmp_path / "bad.pt"), 2)
    assert "bad.pt" in line
