"""Tests of finding the run that a command is about."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from medleak.inversion.attacks.registry import ATTACKS, AttackKind
from medleak.inversion.cli import app
from medleak.inversion.reconstruction import Progress, Reconstruction
from medleak.inversion.results.rows import read_rows


@dataclass(frozen=True, kw_only=True)
class Flat:
    value: float = 0.5
    interrupt: bool = False


def _flat(attack, observation, prior, *, generator, on_progress=None):
    if attack.interrupt:
        raise KeyboardInterrupt
    if on_progress is not None:
        on_progress(Progress(iteration=1, total=2, loss=0.25, seconds=0.1))
    shape = (observation.n_images, observation.image_channels, *observation.spatial_size)
    return Reconstruction(
        images=torch.full(shape, attack.value),
        labels=None,
        losses={"bn": 0.1},
        history=torch.zeros(1),
        iterations=1,
        seconds=0.5,
    )


@pytest.fixture(autouse=True)
def _flat_attack(monkeypatch):
    monkeypatch.setitem(ATTACKS, "flat", lambda: AttackKind(Flat, _flat))


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
