"""Tests of files that appear whole or not at all."""

import contextlib
import errno
import os
import signal
import subprocess
import sys

import pytest

from medleak.custom.atomic import whole_folder, write_atomic


def test_a_file_and_its_folders_appear_with_the_content_and_nothing_else(tmp_path):
    path = tmp_path / "a" / "b" / "x.json"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["x.json"]


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_on_an_error_the_old_content_stays_and_nothing_new_is_left(tmp_path, monkeypatch, function):
    path = tmp_path / "x.json"
    write_atomic(path, b"old")

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, function, full)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_the_content_is_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    order = []
    for owner, name in ((os, "fsync"), (os, "replace")):
        real = getattr(owner, name)
        monkeypatch.setattr(
            owner, name, lambda *a, name=name, real=real, **k: (order.append(name), real(*a, **k))
        )
    write_atomic(tmp_path / "x", b"data")
    assert order[0] == "fsync"
    if os.name == "posix":
        assert order[-1] == "fsync"  # the folder, after its new name


def names(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


def _failing(out, error):
    with whole_folder(out, last="done") as part:
        (part / "list").write_text("new")
        raise error


def test_a_folder_appears_when_the_block_is_done_and_not_before(tmp_path):
    out = tmp_path / "a" / "out"
    with whole_folder(out) as part:
        (part / "x").mkdir()
        (part / "x" / "1.png").touch()
        assert not out.exists()
    assert names(tmp_path) == ["a", "a/out", "a/out/x", "a/out/x/1.png"]
    assert out.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt(), SystemExit(3)])
def test_after_an_error_nothing_is_left_of_a_folder(tmp_path, error):
    with pytest.raises(type(error)):
        _failing(tmp_path / "a" / "b" / "out", error)
    assert names(tmp_path) == []


def test_what_a_folder_held_stays_after_an_error_and_is_replaced_by_name_otherwise(tmp_path):
    out = tmp_path / "out"
    (out / "images").mkdir(parents=True)
    for name, text in (("own.txt", "mine"), ("list", "old"), ("done", "old"), ("images/1", "old")):
        (out / name).write_text(text)
    before = {name: (out / name).read_text() for name in ("own.txt", "list", "done", "images/1")}
    with pytest.raises(ValueError, match="bad"):
        _failing(out, ValueError("bad"))
    assert {name: (out / name).read_text() for name in before} == before
    with whole_folder(out, last="done") as part:
        (part / "images").mkdir()
        for name in ("list", "done", "images/2"):
            (part / name).write_text("new")
    held = ("done", "images", "images/2", "list", "own.txt")
    assert names(tmp_path) == ["out", *(f"out/{name}" for name in held)]
    assert (out / "own.txt").read_text() == "mine"
    assert (out / "list").read_text() == (out / "done").read_text() == "new"


def test_a_folder_that_is_complete_is_not_said_to_be_while_it_is_changed(tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    (out / "done").touch()
    order, real = [], os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append(str(b)), real(a, b)))
    with whole_folder(out, last="done") as part:
        for name in ("a", "done", "z"):
            (part / name).touch()
    assert [path.rpartition("/")[2] for path in order] == ["done", "a", "z", "done"]
    assert ".part" in order[0]


WRITER = """
import sys, time
from pathlib import Path
from medleak.custom.atomic import whole_folder
with whole_folder(Path(sys.argv[1])) as part:
    (part / "1.png").touch()
    print("written", flush=True)
    time.sleep(60)
"""


@contextlib.contextmanager
def _writing(out):
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(out)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        yield process
        process.kill()


@pytest.mark.skipif(os.name != "posix", reason="signals and locks of POSIX")
def test_a_process_that_is_told_to_end_leaves_nothing(tmp_path):
    with _writing(tmp_path / "out") as process:
        process.terminate()
        assert process.wait(20) == 128 + signal.SIGTERM
    assert names(tmp_path) == []


@pytest.mark.skipif(os.name != "posix", reason="signals and locks of POSIX")
def test_what_a_killed_process_left_is_hidden_and_goes_with_the_next_call(tmp_path):
    with _writing(tmp_path / "out"):
        with whole_folder(tmp_path / "out"):  # one that is being written to is left alone
            assert len(list(tmp_path.iterdir())) == 2
        (tmp_path / "out").rmdir()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".out.")
    with whole_folder(tmp_path / "out") as part:
        (part / "2.png").touch()
    assert names(tmp_path) == ["out", "out/2.png"]
