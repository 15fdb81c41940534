"""Tests of files that appear whole or not at all."""

import errno
import os

import pytest

from medleak.custom.atomic import write_atomic


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
