"""Tests of medleak calibrate."""

import json
from pathlib import Path

import pytest
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
