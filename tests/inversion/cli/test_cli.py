"""Tests of the ``medleak`` command: what it prints, writes, and refuses in one line."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.networks.nets.resnet import ResNet
from PIL import Image
from tests.inversion.cli.commands import flip_a_byte, medleak, refused

from medleak.custom.record import ModelSpec
from medleak.inversion.results.rows import read_rows

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("flat_attack", "here")]

RESNET = "monai.networks.nets.ResNet"
COMMANDS = (["audit"], ["records", "ls"], ["records", "verify"], ["prior"])


def test_the_real_attack_on_a_real_update_is_reported_as_a_leak(make_run, small_network):
    # Wide late layers: row spaces need more channels than output positions (notes of RowSpace).
    args = {**small_network, "block_inplanes": [16, 32, 96, 96]}
    torch.manual_seed(1)
    make_run(size=32, network=ResNet(**args), model=ModelSpec(path=RESNET, args=args))
    result = medleak("audit", "--attack", "row_space:attempts=1", "--out", "a")
    assert result.exit_code == 0, result.output
    assert "leaks: 1 of 1 reconstructions" in result.output
    (row,) = read_rows(Path("a/results.csv"))
    assert row.ssim is not None
    assert row.ssim_prior is not None
    assert row.ssim > 0.95 > 0.7 > row.ssim_prior
    assert not row.stuck
    with (
        Image.open(Path("a") / row.picture) as found,
        Image.open(Path("a") / str(row.truth_picture)) as true,
    ):
        assert np.abs(np.asarray(found, float) - np.asarray(true, float)).mean() < 5


def test_audit_prints_its_summary_as_json_and_nothing_else(make_run):
    make_run({"site-1": 1, "site-2": 1})
    args = ("--attack", "flat:value=0.3", "--site", "site-2", "--out", "a", "--json")
    result = medleak("audit", "simulator_workspace", *args)
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["out"] == "a"
    assert [s["site"] for s in summary["sites"]] == ["site-2"]
    assert json.loads(Path("a/config.json").read_text())["attacks"]["flat:value=0.3"] == {
        "value": 0.3,
        "interrupt": False,
    }


def test_audit_runs_a_grid_and_says_no_word_of_safety(make_run):
    make_run()
    noisy = "percentile_gaussian:sigma0=10"
    result = medleak(
        *("audit", "--attack", "flat", "--defence", "none", "--defence", noisy),
        *("--seed", 0, "--seed", 1, "--out", "a", "--prior", "phantoms"),
    )
    assert result.exit_code == 0, result.output
    rows = read_rows(Path("a/results.csv"))
    assert [(r.defence, r.seed) for r in rows] == [("none", 0), ("none", 1), (noisy, 0), (noisy, 1)]
    assert "safe" not in result.output.lower()
    assert "safe" not in Path("a/summary.json").read_text().lower()


def test_audit_again_keeps_what_is_done(make_run):
    make_run({"site-1": 1, "site-2": 1})
    medleak("audit", "--attack", "flat", "--site", "site-1", "--out", "a")
    result = medleak("audit", "--attack", "flat", "--out", "a")
    assert result.exit_code == 0
    assert "kept" in result.output
    assert [r.site for r in read_rows(Path("a/results.csv"))] == ["site-1", "site-2"]


def test_interrupted_it_says_what_is_kept_and_how_to_go_on(make_run):
    make_run()
    attacks = ("--attack", "flat", "--attack", "flat:interrupt=true")
    line = refused(medleak("audit", *attacks, "--out", "a"), 130)
    assert "1 of 2 cases are done and kept in a" in line
    assert len(read_rows(Path("a/results.csv"))) == 1


def test_a_flipped_byte_fails_the_audit_at_its_end_and_not_the_others(make_run):
    run = make_run({"site-1": 1, "site-2": 1})
    flip_a_byte(run.records / "round_0000" / "site-1.safetensors")
    result = medleak("audit", "--attack", "flat", "--out", "a")
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    first, last = result.stderr.strip().splitlines()
    assert "round 0, site-1" in first
    assert "SHA-256" in first
    assert "1 of 2 cases could not be audited; the others were" in last
    assert [r.site for r in read_rows(Path("a/results.csv"))] == ["site-2"]


def test_a_record_of_another_model_fails_by_name(make_run):
    make_run(model=ModelSpec(path="torchvision.models.squeezenet1_1", args={"num_classes": 2}))
    result = medleak("audit", "--attack", "flat", "--out", "a")
    assert result.exit_code == 1
    assert "belongs to another network" in result.stderr


def test_a_factory_of_ones_own_is_built_only_when_its_prefix_is_allowed(
    make_run, small_network, tmp_path, monkeypatch
):
    (tmp_path / "ownlab.py").write_text(
        "from monai.networks.nets.resnet import ResNet\n"
        f"def net():\n    return ResNet(**{small_network!r})\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    make_run(model=ModelSpec(path="ownlab.net"))
    result = medleak("audit", "--attack", "flat", "--out", "a")
    assert result.exit_code == 1
    assert "'ownlab.net', which is outside" in result.stderr
    result = medleak("audit", "--attack", "flat", "--out", "a", "--allow-model", "ownlab.")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["--site", "site-7"], 2, "Site site-7 is not in"),
        (["--round", "7"], 2, "recorded are rounds 0"),
        (["--defence", "percentile_gaussian:sigma0=1,percentile=101"], 2, "percentile"),
        (["--defence", "percentile_gaussian:sigma0=-1"], 2, "sigma0"),
        (["--defence", "percentile_gaussian:sigma0=NaN"], 2, "sigma0"),
        (["--defence", "hope"], 2, "Unknown defence 'hope'"),
        (["--attack", "magic"], 2, "Unknown attack 'magic'"),
        (["--knowledge", "everything=true"], 2, "Knowledge has no 'everything'"),
        (["--prior", "nowhere.png"], 2, "nowhere.png"),
        (["--truth", "nowhere"], 2, "Truth 'nowhere' does not exist"),
        (["--device", "abacus"], 2, "Device 'abacus'"),
    ],
)
def test_an_audit_that_cannot_be_done_is_refused_and_writes_nothing(make_run, args, code, said):
    make_run()
    result = medleak("audit", "--attack", "flat", "--out", "a", *args)
    assert said in refused(result, code)
    assert not Path("a").exists()


def test_a_prior_of_the_wrong_kind_is_refused(make_run):
    make_run()
    for name, mode, size in (("rgb.png", "RGB", (16, 16)), ("small.png", "L", (8, 8))):
        Image.new(mode, size).save(name)
        result = medleak("audit", "--attack", "flat", "--out", "a", "--prior", name)
        assert name in refused(result, 2)
    assert not Path("a").exists()


def test_a_truth_that_lacks_a_site_is_refused(make_run):
    make_run({"site-1": 1, "site-2": 1})
    Path("lists").mkdir()
    Path("simulator_workspace/site-1/simulate_job/datalist.json").rename("lists/site-1.json")
    result = medleak("audit", "--attack", "flat", "--out", "a", "--truth", "lists")
    assert "has no datalist for site-2" in refused(result, 2)
    assert not Path("a").exists()


def test_audit_takes_the_newest_run_and_names_its_directory_after_it(make_run, tmp_path):
    old = make_run(name="workspace/cxr_old")
    make_run({"site-1": 2}, name="workspace/cxr_new")
    os.utime(old.records / "manifest.json", (1, 1))
    result = medleak("audit", "--attack", "flat")
    assert result.exit_code == 0, result.output
    (out,) = Path("workspace").glob("audit-small-*")
    assert {row.site for row in read_rows(out / "results.csv")} == {"site-1"}
    assert str(out) in result.output
    assert "by flat knowing all, labels inferred" in result.output


@pytest.mark.parametrize("command", [["audit"], ["records", "ls"], ["records", "verify"]])
def test_a_missing_run_is_refused(command, tmp_path):
    assert "there is no run to take by default" in refused(medleak(*command), 1)
    assert "does not exist" in refused(medleak(*command, "nowhere"), 1)
    assert "No record in" in refused(medleak(*command, tmp_path), 1)


def test_what_the_record_does_not_say_is_asked_for_taken_and_told(make_run, tmp_path):
    run = make_run({"site-9": 1})
    sidecar = run.records / "round_0000" / "site-9.json"
    text = json.loads(sidecar.read_text())
    silent = {**text, "n_images": None, "batch_size": None, "lr": None, "sources": {}}
    sidecar.write_text(json.dumps(silent))
    out = ("--attack", "flat", "--no-health", "--out")
    why = medleak("audit", run.records, *out, tmp_path / "a")
    assert why.exit_code == 1
    assert "Not known: the number of images" in why.stderr
    assert why.stderr.rstrip().endswith("1 of 1 cases could not be audited.")
    assert "--schedule n_images=" in why.stderr
    said = ("--schedule", "n_images=1,n_steps=9", "--task", "bce:2", "--mean", "0.5")
    done = medleak("audit", run.records, *out, tmp_path / "b", *said)
    assert done.exit_code == 0, done.output
    assert "n_images 1 (given)" in done.stdout
    assert "lr not known (unknown)" in done.stdout
    assert "n_steps is 9" in done.stdout
    config = json.loads((tmp_path / "b" / "config.json").read_bytes())
    assert config["said"]["0/site-9"]["schedule"]["n_images"] == {"value": 1, "source": "given"}
    assert config["run"]["task"]["source"] == "given"
    other = medleak("audit", run.records, *out, tmp_path / "b", "--schedule", "n_images=2")
    assert other.exit_code == 2
    assert "holds another audit" in other.stderr


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--schedule", "speed=1", "has no 'speed'"),
        ("--input", "224", "224x224x3"),
        ("--task", "hinge:2", "bce:14"),
        ("--mean", "a", "no list of numbers"),
    ],
)
def test_a_statement_that_cannot_be_used_is_one_line(make_run, option, value, words):
    assert words in refused(medleak("audit", make_run().records, option, value), 2)
