"""Tests of verified: nothing that changed, and nothing that a stranger says, is taken for right."""

import json
import os
import shutil

import numpy as np
import pytest
from tests.custom.record.recorded import STATE, aged, flip, info, record

from medleak.custom.record import fingerprints, write_update
from medleak.custom.record.files import other_model
from medleak.custom.record.keeping import verified
from medleak.custom.record.keeping.compressing import compress_record
from medleak.custom.record.keeping.verified import kept_models, remembered, verify_again
from medleak.custom.record.writing import write_global


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(fingerprints, "SETTLED", 0.05)


@pytest.fixture
def root(tmp_path):
    return aged(record(tmp_path / "records"))


def checked(root, **kwargs):
    """(read, right) of every update, after a check that remembers."""
    with remembered(root) as memory:
        found = list(verify_again(root, memory, **kwargs))
    return [(c.read, c.error is None) for c in found]


def memory_of(home):
    (path,) = (home / "medleak" / "verified").glob("*.jsonl")
    return path


FRESH, SAME = [(True, True)] * 6, [(False, True)] * 6


def test_what_did_not_change_is_not_read_again_unless_that_is_asked_for(root):
    assert checked(root) == FRESH
    assert checked(root) == SAME
    assert checked(root, everything=True) == FRESH
    assert checked(root) == SAME


@pytest.mark.parametrize("hide", [False, True])
@pytest.mark.parametrize("name", ["a.safetensors", "global.safetensors", "a.json"])
def test_a_file_that_was_written_to_is_found_also_with_its_old_length_and_time(root, name, hide):
    checked(root)
    flip(root / "round_0001" / name, hide=hide)
    found = checked(root)
    assert (True, False) in found
    assert found[:2] == found[4:] == SAME[:2]  # the other rounds
    assert checked(root) == found  # and is not forgotten


def test_another_file_of_the_same_length_and_time_in_its_place_is_found(root):
    checked(root)
    path = root / "round_0002" / "b.safetensors"
    before = path.stat()
    other = root / "round_0002" / ".other"
    shutil.copy(path, other)
    flip(other)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)
    assert checked(root)[5] == (True, False)


def test_a_file_that_is_read_instead_of_the_one_that_was_checked_is_read(root):
    checked(root)
    folder = root / "round_0000"
    digest = json.loads((folder / "a.json").read_text())["sha256"]["global"]
    other_model(folder, digest).parent.mkdir()
    other_model(folder, digest).write_bytes(b"no model")
    assert checked(root)[:2] == [(True, False)] * 2


def test_a_folder_that_became_a_link_to_itself_elsewhere_is_read(root, tmp_path):
    checked(root)
    (root / "round_0001").rename(tmp_path / "elsewhere")
    (root / "round_0001").symlink_to(tmp_path / "elsewhere")
    assert checked(root)[2:4] == [(True, False)] * 2


def test_what_was_written_just_now_is_read_again_the_next_time(tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprints, "SETTLED", 1000.0)
    root = record(tmp_path / "records")
    assert checked(root) == checked(root) == FRESH


def test_a_model_is_not_believed_for_all_sites_where_it_changes_between_them(root, monkeypatch):
    """It is read once a round; a later site must not be remembered with a file nobody read."""
    real = verified.Reader.check

    def check(self, round, site):
        real(self, round, site)
        if (round, site) == (0, "a"):
            flip(root / "round_0000" / "global.safetensors", hide=True)

    monkeypatch.setattr(verified.Reader, "check", check)
    assert checked(root)[:2] == [(True, True), (True, False)]
    monkeypatch.undo()
    assert [right for _, right in checked(root)[:2]] == [False, False]


def forge(path, change):
    lines = path.read_bytes().split(b"\n")
    text, _, mac = lines[1].rpartition(b" ")
    entry = json.loads(text)
    change(entry)
    lines[1] = json.dumps(entry, separators=(",", ":")).encode() + b" " + mac
    path.write_bytes(b"\n".join(lines))


def test_a_memory_that_says_what_medleak_did_not_write_is_not_used_at_all(root, state_home):
    checked(root)
    path = root / "round_0000" / "a.safetensors"
    flip(path, hide=True)
    mark = fingerprints.fingerprint(path)
    aged(root)
    forge(
        memory_of(state_home),
        lambda entry: entry["seal"]["files"].update({"round_0000/a.safetensors": mark}),
    )
    with remembered(root) as memory:
        found = list(verify_again(root, memory))
    assert "changed by something other than medleak" in memory.why_not
    assert [(c.read, c.error is None) for c in found] == [(True, False), *FRESH[1:]]


@pytest.mark.parametrize("damage", [b"", b"\n", b"x\n", b"{} 00\n", b"\xff" * 90 + b"\n"])
def test_a_damaged_memory_is_begun_anew(root, damage, state_home):
    checked(root)
    memory_of(state_home).write_bytes(damage)
    assert checked(root) == FRESH
    assert checked(root) == SAME


def test_lines_of_another_record_or_in_another_order_are_not_used(root, tmp_path, state_home):
    checked(root)
    path = memory_of(state_home)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[2], lines[1], *lines[3:]]))
    assert checked(root) == FRESH
    copy = aged(shutil.copytree(root, tmp_path / "copy"))
    path.write_bytes(b"".join(lines))
    assert checked(copy) == FRESH
    assert checked(root) == SAME


def test_a_line_that_a_kill_cut_short_costs_its_update_alone(root, state_home):
    checked(root)
    path = memory_of(state_home)
    path.write_bytes(path.read_bytes()[:-20])
    assert checked(root) == [*SAME[:5], (True, True)]
    assert checked(root) == SAME


def test_a_memory_or_key_that_others_may_write_to_is_not_used(root, state_home):
    checked(root)
    for path in (memory_of(state_home), state_home / "medleak" / "verified" / "key"):
        path.chmod(0o644)
        with remembered(root) as memory:
            assert all(c.read for c in verify_again(root, memory))
        assert "open to others" in memory.why_not
        path.chmod(0o600)
    assert checked(root) == SAME


def test_other_checks_than_those_that_were_passed_are_made(root, monkeypatch):
    checked(root)
    monkeypatch.setattr(verified, "_code", lambda: "of a later medleak")
    assert checked(root) == FRESH


def test_two_checks_at_a_time_do_not_share_a_memory(root):
    with remembered(root) as first, remembered(root) as second:
        assert (first.why_not, "at this moment" in second.why_not) == ("", True)
        assert all(c.read for c in verify_again(root, second))


def test_without_a_place_for_it_everything_is_read_every_time(root, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with remembered(root) as memory:
        assert all(c.read and c.error is None for c in verify_again(root, memory))
    assert "will not be known the next time" in memory.why_not


def test_what_came_beside_an_update_is_part_of_it(tmp_path):
    root = record(tmp_path / "records", sites=("a",), rounds=(0,))
    digest = write_global(root, 1, STATE)
    write_update(root, info(1, "c"), digest, STATE, beside={"scaffold": {"w": np.ones(3)}})
    aged(root)
    assert checked(root) == FRESH[:2]
    assert checked(root) == SAME[:2]
    flip(root / "round_0001" / "beside" / "c.safetensors", hide=True)
    assert checked(root) == [(False, True), (True, False)]


def test_a_compressed_record_is_checked_the_same(root):
    compress_record(root)
    aged(root)
    assert (checked(root), checked(root)) == (FRESH, SAME)
    flip(root / "round_0001" / "a.safetensors.zst", hide=True)
    assert checked(root)[2] == (True, False)
    assert list(kept_models(root)) == []
