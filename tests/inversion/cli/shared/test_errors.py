"""Tests of one line an error."""

import errno
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import typer
from tests.inversion.cli.commands import medleak, refused
from tests.places import ROOT

from medleak.custom.data.images import save_image
from medleak.filters.doctor import NOT_KNOWN as NOT_KNOWN_OF_DOCTOR
from medleak.inversion.cli import app
from medleak.inversion.cli.report import LEAKS
from medleak.inversion.cli.shared.errors import (
    EXIT_CODES,
    NOT_KNOWN,
    UNREAD,
    NothingExamined,
    one_line_errors,
)

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


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("folder", "Cannot use folder: it is a folder, and a file is wanted here"),
        ("file/prior.png", "Cannot use file: it is a file, and a folder is wanted here"),
    ],
)
def test_a_folder_for_a_file_and_a_file_for_a_folder_are_said_by_name(out, said):
    Path("folder").mkdir()
    Path("file").touch()
    Path("images").mkdir()
    save_image(Path("images/x.png"), np.zeros((16, 16), np.uint8))
    before = sorted(Path.cwd().rglob("*"))
    line = refused(medleak("prior", "--data", "images", "-o", out), 2)
    assert said in line.replace(f"{Path.cwd()}/", "")
    assert ".part" not in line
    assert sorted(Path.cwd().rglob("*")) == before


def test_a_folder_of_lists_that_is_a_file_is_said_by_name():
    assert medleak("data", "synthetic", "cxr", "-n", 30, "--size", 16, "-o", "set").exit_code == 0
    Path("file").touch()
    table = ("--table", "a:4:8:2,b:4:8:2")
    line = refused(medleak("data", "folder", "set", *table, "-o", "file"), 2)
    assert f"Cannot use {Path.cwd()}/file: it is a file, and a folder is wanted here" in line
    assert Path("file").read_bytes() == b""


def test_output_that_nobody_reads_is_no_error_of_the_request(make_run):
    make_run()
    command = [str(Path(sys.executable).parent / "medleak"), "records", "ls"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(timeout=100) == UNREAD
    assert said == b""


def test_a_pipe_that_breaks_elsewhere_is_said(make_run, monkeypatch):
    make_run()

    def broken(*args):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr("medleak.inversion.audit.evaluation.Evaluator.rows", broken)
    assert "Broken pipe" in refused(medleak("audit", "--attack", "flat", "--out", "a"), 1)


def test_a_defect_is_one_line_too_and_debug_shows_it_all(make_run, monkeypatch):
    make_run()

    def broken(*args):
        raise TypeError("unsupported operand")

    monkeypatch.setattr("medleak.inversion.audit.evaluation.Evaluator.rows", broken)
    line = refused(medleak("audit", "--attack", "flat", "--out", "a"), 1)
    assert "Unexpected TypeError: unsupported operand" in line
    result = medleak("--debug", "audit", "--attack", "flat", "--out", "a")
    assert isinstance(result.exception, TypeError)


COMMANDS = (ROOT / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")


def test_the_documents_have_the_same_table_of_exit_codes():
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", COMMANDS, re.MULTILINE)
    assert {int(code): meaning for code, meaning in rows} == EXIT_CODES
    assert len(set(EXIT_CODES)) == 6


def test_the_documents_name_every_command_that_can_end_with_not_known():
    table = COMMANDS.partition("| command | ends with 3 where |")[2].partition("\n\n")[0]
    named = set(re.findall(r"^\| `medleak ([a-z -]+)` \|", table, re.MULTILINE))
    can = {name for name, command in commands(app) if re.search(r"\b3(:| if| where|,)", command)}
    assert named == can


def commands(group):
    """Names of all commands with what their help says."""
    found: list[tuple[str, str]] = []
    root = typer.main.get_command(group)

    def walk(command: Any, name: str):
        if not hasattr(command, "commands"):
            found.append((name, command.help or ""))
        for child, inner in getattr(command, "commands", {}).items():
            walk(inner, f"{name} {child}".strip())

    walk(root, "")
    return found


def test_what_examined_nothing_ends_with_its_own_code():
    @one_line_errors
    def command(ctx):
        raise NothingExamined("There was nothing.")

    root = SimpleNamespace(params={})
    with pytest.raises(typer.Exit) as caught:
        command(ctx=SimpleNamespace(find_root=lambda: root))
    assert caught.value.exit_code == NOT_KNOWN == NOT_KNOWN_OF_DOCTOR == LEAKS
