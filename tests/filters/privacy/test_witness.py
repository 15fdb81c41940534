"""Tests of medleak.filters.privacy.witness: what a site knows of its ledger outside of it."""

import stat
import threading

import pytest

from medleak.filters.privacy import witness
from medleak.filters.privacy.witness import LedgerError, Witness


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.jsonl"


def test_a_witness_reads_back_and_a_missing_one_is_none(path):
    assert witness.read(path) is None
    seen = Witness.new().saw(7, "ab" * 32)
    witness.write(path, seen)
    assert witness.read(path) == seen


def test_every_site_has_a_key_of_its_own_for_its_owner_only(path):
    assert Witness.new().key != Witness.new().key
    witness.write(path, Witness.new())
    (made,) = witness.folder_of(path).iterdir()
    assert stat.S_IMODE(made.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"key": "zz"}', b"[" * 5000, b"x" * 20_000]
)
def test_a_damaged_witness_stops(path, content):
    witness.write(path, Witness.new())
    (witness.folder_of(path) / "witness.json").write_bytes(content)
    with pytest.raises(LedgerError, match="witness of the ledger"):
        witness.read(path)


def test_one_at_a_time_holds_the_lock(path):
    inside, most = [], []

    def work():
        for _ in range(20):
            with witness.locked(path):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert len(most) == 80
