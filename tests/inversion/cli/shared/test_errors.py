"""Tests of one line an error."""

import errno
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from medleak.inversion.attacks.registry import ATTACKS, AttackKind
from medleak.inversion.cli import app
from medleak.inversion.reconstruction import Progress, Reconstruction


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


def test_a_full_disk_is_one_line(make_run, monkeypatch):
    make_run()

    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("medleak.inversion.images.pictures.write_atomic", full)
    line = refused(medleak("audit", "--attack", "flat", "--out", "a"), 1)
    assert "no space left on the disk" in line
    assert "goes on from there" in line
    assert not list(Path("a").glob("**/*.png"))


def test_a_defect_is_one_line_too_and_debug_shows_it_all(make_run, monkeypatch):
    make_run()

    def broken(*args):
        raise TypeError("unsupported operand")

    monkeypatch.setattr("medleak.inversion.audit.evaluation.Evaluator.rows", broken)
    line = refused(medleak("audit", "--attack", "flat", "--out", "a"), 1)
    assert "Unexpected TypeError: unsupported operand" in line
    result = medleak("--debug", "audit", "--attack", "flat", "--out", "a")
    assert isinstance(result.exception, TypeError)
