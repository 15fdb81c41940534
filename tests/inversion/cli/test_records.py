"""Tests of medleak records."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from tests.custom.record.recorded import aged
from tests.inversion.cli.commands import flip_a_byte, medleak, refused

from medleak.custom.record import (
    LeftOut,
    fingerprints,
    read_manifest,
    read_record,
    verify,
    write_manifest,
)
from medleak.custom.small_networks import lenet

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


@pytest.mark.parametrize("command", [("records", "ls"), ("records", "verify"), ("audit",)])
def test_why_a_record_is_empty_is_said_in_its_recorders_words(make_run, command):
    run = make_run({"site-1": 1})
    shutil.rmtree(run.records / "round_0000")
    silent = read_manifest(run.records).model_copy(update={"silence": "no result came by"})
    write_manifest(run.records, silent)
    assert "Its recorder says: no result came by" in refused(medleak(*command), 3)


def test_what_is_read_as_no_update_is_named_and_the_rest_is_verified(make_run):
    run = make_run({"site-1": 1, "site-2": 1})
    (run.records / "round_0000" / "site-2.json").unlink()
    result = medleak("records", "verify", "--json")
    assert "round_0000/site-2.safetensors has no .json" in refused(result, 3)
    content = json.loads(result.stdout)
    assert [u["ok"] for u in content["updates"]] == [True]
    assert content["not_read"] == ["round_0000/site-2.safetensors has no .json"]
    assert medleak("records", "ls").exit_code == 3


def test_a_second_folder_of_a_round_is_not_read_as_the_first(make_run):
    run = make_run({"site-1": 1})
    other = run.records / "round_00000"
    shutil.copytree(run.records / "round_0000", other)
    flip_a_byte(other / "site-1.safetensors")
    result = medleak("records", "verify")
    assert "round_00000/ has the name of no round" in refused(result, 3)
    assert "1 of 1 updates" in result.stdout


def test_updates_that_are_not_there_are_said(make_run):
    run = make_run({"site-1": 1, "site-2": 1}, rounds=(0, 1))
    assert json.loads(medleak("records", "verify", "--json").stdout)["gaps"] == ""
    for path in (run.records / "round_0001").glob("site-2.*"):
        path.unlink()
    result = medleak("records", "verify")
    assert (result.exit_code, "3 of 3 updates" in result.stdout) == (0, True)
    assert "1 updates that 2 sites could have sent in rounds 0 to 1" in result.stdout


def test_what_the_recorder_left_out_is_said(make_run):
    run = make_run({"site-1": 1})
    manifest = read_manifest(run.records)
    left_out = (LeftOut(round=0, site="site-7", reason="over the disk budget"),)
    write_manifest(run.records, manifest.model_copy(update={"left_out": left_out}))
    result = medleak("records", "verify")
    assert result.exit_code == 0
    assert "1 updates arrived and are not in the record (1: over the disk budget)" in result.stdout


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


@pytest.fixture
def states(tmp_path, monkeypatch):
    """before.pt and after.pt, of a network with a counter of batch norm."""
    monkeypatch.chdir(tmp_path)
    before = {"w": torch.ones(3), "n.num_batches_tracked": torch.tensor(2)}
    torch.save(before, "before.pt")
    torch.save({"w": torch.rand(3), "n.num_batches_tracked": torch.tensor(3)}, "after.pt")
    return tmp_path


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [("before", "before", "same weights"), ("after", "before", "counts backwards")],
)
def test_what_is_no_training_is_not_imported(states, one, other, why):
    assert why in refused(medleak("records", "import", f"{one}.pt", f"{other}.pt", "-o", "run"), 1)
    assert not (states / "run").exists()


def test_weights_of_a_coarser_type_are_recorded_and_it_is_said_what_that_hides(states):
    after = torch.load("after.pt", weights_only=True)
    torch.save({n: v.half() if v.is_floating_point() else v for n, v in after.items()}, "half.pt")
    done = medleak("records", "import", "before.pt", "half.pt", "-o", "run")
    assert done.exit_code == 0
    assert "half.pt holds float16 where before.pt has float32 (1 tensors)" in done.stderr
    plain = medleak("records", "import", "before.pt", "after.pt", "-o", "other")
    assert (plain.exit_code, plain.stderr) == (0, "")


def test_an_import_says_nothing_new_of_updates_that_are_there_already(states):
    files = ("records", "import", "before.pt", "after.pt", "-o", "run")
    assert medleak(*files, "--task", "mse:2").exit_code == 0
    before = sorted(states.glob("run/**/*"))
    said = refused(medleak(*files, "--round", "1", "--task", "bce:14"), 1)
    assert "task.criterion is 'mse', and now 'bce' is said" in said
    again = ("records", "import", "half.pt", "after.pt", "-o", "run", "--input", "8x8x1")
    torch.save({k: v - 1 for k, v in torch.load("before.pt", weights_only=True).items()}, "half.pt")
    assert "one update a round" in refused(medleak(*again), 1)
    assert sorted(states.glob("run/**/*")) == before
    assert read_manifest(states / "run").input is None
    more = medleak(*files, "--round", "1", "--input", "8x8x1")
    assert more.exit_code == 0
    assert read_manifest(states / "run").sources["input"] == "given"


def test_a_base_is_not_accepted_and_ignored(states):
    said = ("records", "import", "before.pt", "after.pt", "--base", "before.pt")
    assert "--base completes a partial update" in refused(medleak(*said), 2)


@pytest.mark.parametrize(
    ("mean", "fits"), [("0.5,0.5", False), ("0.5", True), ("0.1,0.2,0.3", True)]
)
def test_an_import_refuses_a_normalisation_that_the_network_cannot_take(mean, fits):
    network = lenet(spatial_size=16)
    torch.save(network.state_dict(), "before.pt")
    torch.save({k: v + 1 for k, v in network.state_dict().items()}, "after.pt")
    model = "medleak.custom.small_networks.lenet:spatial_size=16"
    said = ("--out", "run", "--input", "16x16x1", "--model", model, "--mean", mean)
    done = medleak("records", "import", "before.pt", "after.pt", *said)
    if fits:
        assert done.exit_code == 0, done.output
    else:
        assert "the network takes 3 channels" in refused(done, 2)
        assert not Path("run").exists()


def test_a_pickle_is_not_imported(tmp_path):
    (tmp_path / "bad.pt").write_bytes(b"cos\nsystem\n(S'echo ran'\ntR.")
    line = refused(medleak("records", "import", tmp_path / "bad.pt", tmp_path / "bad.pt"), 2)
    assert "bad.pt" in line


def test_verify_says_what_it_did_not_read_again(make_run, monkeypatch):
    monkeypatch.setattr(fingerprints, "SETTLED", 0.05)
    run = make_run({"site-1": 1, "site-2": 1})
    aged(run.records)
    first = medleak("records", "verify")
    assert "2 of 2 updates are as recorded." in first.output
    assert "--full" not in first.output
    assert "0 were read now. 2 were not" in medleak("records", "verify").output
    content = json.loads(medleak("records", "verify", "--json").stdout)
    assert [u["read"] for u in content["updates"]] == [False, False]
    assert "--full" not in medleak("records", "verify", "--full").output
    flip_a_byte(run.records / "round_0000" / "site-2.safetensors")
    assert "site-2" in refused(medleak("records", "verify"), 1)
