"""Tests of fingerprints."""

import os
import time

import pytest

from medleak.custom.record.fingerprints import SETTLED, fingerprint, settled


def test_a_plain_file_has_one_that_every_change_moves(tmp_path):
    path = tmp_path / "x"
    assert fingerprint(path) is None
    path.write_bytes(b"1")
    first = fingerprint(path)
    assert first == fingerprint(path)
    assert first is not None
    os.utime(path, ns=(0, 0))
    second = fingerprint(path)
    assert second is not None
    assert second[1] == 0
    path.replace(tmp_path / "y")
    path.write_bytes(b"1")
    third = fingerprint(path)
    assert third is not None
    assert third[3] != second[3]


def test_what_is_no_plain_file_has_none(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    for path in (tmp_path, tmp_path / "link"):
        with pytest.raises(OSError, match="not a plain file"):
            fingerprint(path)


def test_a_file_is_settled_when_the_clock_has_moved_on(tmp_path):
    path = tmp_path / "x"
    path.touch()
    mark = fingerprint(path)
    assert mark is not None
    now = mark[2] / 1e9
    assert not settled(mark, now + SETTLED - 0.1)
    assert settled(mark, now + SETTLED + 0.1)
    assert not settled([0, 0, int((time.time() + 3600) * 1e9), 0, 0])  # of a clock that is ahead
