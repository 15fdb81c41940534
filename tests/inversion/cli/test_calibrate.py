"""Tests of medleak calibrate."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tests.inversion.calibration.federations import protects
from typer.testing import CliRunner

from medleak.inversion.calibration.run import read_calibration
from medleak.inversion.cli import app

pytestmark = pytest.mark.slow


def medleak(*args):
    return CliRunner().invoke(app, [str(a) for a in args], env={"COLUMNS": "120"})


def test_the_command_finds_a_strength_and_prints_what_to_paste(federation, tmp_path):
    run, _ = federation
    report = run.root / "server" / "simulate_job" / "test_metrics.json"
    accuracy = {"value": 0.8, "lower95": 0.7, "upper95": 0.9}
    report.write_text(json.dumps({"n": 50, "accuracy": accuracy}))
    out = tmp_path / "audit"
    command = ["calibrate", run.root, "--attack", "fake", "--scope", "group", "--seeds", 2]
    command += ["--low", 0.05, "--high", 5, "--tolerance", 2]
    result = medleak(*command, "--utility", f"0={run.root}", "-o", out)
    assert result.exit_code == 0, result.output
    entry = read_calibration(out)["site-9"]
    assert (entry["defence"], entry["scope"]) == ("percentile_gaussian:scope=group", "group")
    assert entry["rounds"] == [4]  # the last, by default
    assert protects(run, entry["strength"])
    assert f'"sigma0": {entry["strength"]:g}' in result.output
    assert entry["privacy_json"]["scopes"][0]["task_result_filters"][0]["args"]["scope"] == "group"
    assert entry["utility"][0]["accuracy"] == 0.8
    assert "test accuracy 0.800 (0.700 to 0.900, 50 images" in result.output
    assert f'--defence "percentile_gaussian:sigma0={entry["strength"]:g},scope=group"' in (
        result.output
    )
    assert "about noise and starts alone" in result.output
    assert "safe" not in result.output.lower()
    assert json.loads((out / "utility.json").read_text())[0]["defence"] == "none"
    as_json = medleak(*command, "--utility", f"0={run.root}", "-o", out, "--json")
    assert json.loads(as_json.stdout)["sites"]["site-9"] == entry


def test_none_in_range_is_said_and_fails(federation, tmp_path):
    run, _ = federation
    out = tmp_path / "audit"
    args = ("--attack", "fake", "--scope", "group", "--seeds", 2, "--high", 0.02, "-o", out)
    result = medleak("calibrate", run.root, *args)
    assert result.exit_code == 1
    assert "none in range: at sigma0=0.02" in result.output
    assert "1 of 1 sites have no protecting strength" in result.stderr
    assert read_calibration(out)["site-9"]["strength"] is None
    assert read_calibration(out)["site-9"]["privacy_json"] is None


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--defence", "prayer"], "Unknown defence 'prayer'"),
        (["--defence", "sign"], "name its number"),
        (["--low", "5", "--high", "1"], "is empty"),
        (["--site", "site-7"], "Site site-7 is not in"),
        (["--utility", "much=runs"], "'much' is no number"),
        (["--utility", "1=nowhere"], "Run 'nowhere' does not exist"),
        (["--tolerance", "1"], "ratio of two strengths"),
        (["--seconds", "3"], "has no 'seconds'"),
    ],
)
def test_what_cannot_be_calibrated_is_refused_in_one_line(federation, tmp_path, args, said):
    run, _ = federation
    out = tmp_path / "audit"
    result = medleak("calibrate", run.root, "--attack", "fake", "-o", out, *args)
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.strip().splitlines()
    assert said in line
    assert not Path(out).exists()


QUICK = ("--attack", "fake", "--scope", "group", "--seeds", 2, "--low", 0.05, "--high", 5)


def test_what_the_auditor_says_reaches_the_audit_behind_it(federation, small_network, tmp_path):
    run, _ = federation
    base = tmp_path / "base.safetensors"
    save_file({"not_sent.weight": np.ones((2, 2), np.float32)}, base)
    args = {**small_network, "layers": "1|1|1|1", "block_inplanes": "8|8|8|8"}
    network = ",".join(f"{k}={json.dumps(v).strip(chr(34))}" for k, v in args.items())
    said = ("--schedule", "lr=0.01,momentum=0.5", "--input", "16x16x1", "--mean", 0, "--std", 1)
    said += ("--task", "cross_entropy:2", "--model", f"monai.networks.nets.ResNet:{network}")
    out = tmp_path / "audit"
    done = medleak("calibrate", run.root, *QUICK, "--tolerance", 4, *said, "-o", out)
    assert done.exit_code == 0, done.output
    assert "momentum 0.5 (given)" in " ".join(done.stdout.split())
    config = json.loads((out / "config.json").read_bytes())
    assert config["said"]["4/site-9"]["schedule"]["momentum"] == {"value": 0.5, "source": "given"}
    assert {e["source"] for e in config["run"].values()} == {"given"}
    assert config["run"]["input"]["value"]["std"] == [1.0]
    other = medleak("calibrate", run.root, *QUICK, *said, "--base", base, "-o", out)
    assert other.exit_code == 2
    assert "holds another audit" in other.stderr


def test_a_site_whose_update_contradicts_the_auditor_has_no_strength(federation, tmp_path):
    run, _ = federation
    out = tmp_path / "audit"
    said = ("--schedule", "n_steps=9,local_epochs=9")
    done = medleak("calibrate", run.root, *QUICK, *said, "-o", out)
    assert done.exit_code == 1
    text = " ".join(done.stdout.split())
    assert "site-9: -: inconclusive: the update contradicts what was said of it" in text
    assert "The update contradicts what was said: batch norm counted 1 forward passes" in text
    entry = read_calibration(out)["site-9"]
    assert (entry["strength"], entry["privacy_json"]) == (None, None)


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--schedule", "speed=1", "has no 'speed'"),
        ("--input", "224", "224x224x3"),
        ("--task", "hinge:2", "bce:14"),
        ("--mean", "a", "no list of numbers"),
        ("--mean", "0.5,0.4", "--mean has 2 values and the network takes 3 channels"),
        ("--std", "0.5,0.5", "--std has 2 values and the network takes 3 channels"),
        ("--std", "0", "std"),
        ("--base", "nowhere.pt", "nowhere.pt"),
    ],
)
def test_a_statement_that_cannot_be_used_is_one_line(federation, tmp_path, option, value, words):
    run, _ = federation
    result = medleak("calibrate", run.root, *QUICK, "-o", tmp_path / "a", option, value)
    assert result.exit_code in (1, 2), result.output
    (line,) = result.stderr.strip().splitlines()
    assert words in line
    assert not (tmp_path / "a").exists()
