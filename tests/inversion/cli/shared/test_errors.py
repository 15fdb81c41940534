"""Tests of one line an error."""

import errno
from pathlib import Path

import pytest
from tests.inversion.cli.commands import medleak, refused

pytestmark = pytest.mark.usefixtures("flat_attack", "here")


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
