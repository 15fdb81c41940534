"""Tests of compressing a whole record."""

import numpy as np
import pytest
from tests.custom.record.recorded import STATE, flip, record

from medleak.custom.record import read_record, strays, verify
from medleak.custom.record.keeping import compressing
from medleak.custom.record.keeping.compressing import compress_record


@pytest.fixture
def root(tmp_path):
    return record(tmp_path / "records")


def test_a_compressed_record_says_the_same_in_less_space(root):
    done = compress_record(root)
    assert (done.files, done.damaged) == (9, [])
    assert done.after < done.before
    assert not list(root.rglob("*.safetensors"))
    assert [why for *_, why in verify(root)] == [None] * 6
    assert strays(root) == []
    np.testing.assert_array_equal(read_record(root, 1, "b").update["w"], STATE["w"])
    assert compress_record(root).files == 0


def test_a_damaged_file_is_left_as_it_is_and_named(root):
    path = root / "round_0001" / "a.safetensors"
    flip(path)
    before = path.read_bytes()
    done = compress_record(root)
    assert done.files == 8
    assert "round_0001/a.safetensors does not have the SHA-256" in done.damaged[0]
    assert path.read_bytes() == before


def test_a_file_that_is_missing_is_named_once(root):
    (root / "round_0001" / "global.safetensors").unlink()
    done = compress_record(root)
    (why,) = done.damaged
    assert "round_0001/global.safetensors cannot be read" in why
    assert compress_record(root).damaged == done.damaged


def test_killed_between_two_files_it_leaves_every_update_readable(root, monkeypatch):
    real, made = compressing.write, []

    def killed(path, data):
        if len(made) == 4:
            raise KeyboardInterrupt
        made.append(path)
        real(path, data)

    monkeypatch.setattr(compressing, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        compress_record(root)
    monkeypatch.undo()
    assert [why for *_, why in verify(root)] == [None] * 6
    assert compress_record(root).files == 5
