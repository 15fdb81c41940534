"""Tests of medleak records."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from medleak.inversion.cli import app


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    """Stand in an empty directory, with the threads that the test session has."""
    threads = torch.get_num_threads()
    monkeypatch.chdir(tmp_path)
    yield
    torch.set_num_threads(threads)


def medleak(*args):
    return CliRunner().invoke(app, [str(a) for a in args], env={"COLUMNS": "200"})


def refused(result, code):
    """The one line of an error: exit code as expected, no traceback, nothing else said."""
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("medleak: ")
    return lines[0]


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


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
