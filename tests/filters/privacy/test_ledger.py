"""Tests of medleak.filters.privacy.ledger."""

import hashlib
import hmac
import json
import os
import stat
import threading
from dataclasses import asdict, replace

import pytest

from medleak.filters.privacy import accounting, ledger
from medleak.filters.privacy.accounting import Guarantee, dp_sgd, gaussian
from medleak.filters.privacy.ledger import BudgetExceeded, LedgerError, Spend

CLIENT = Guarantee(event=gaussian(4.0), unit="client", relation="replace")
SPEND = Spend(
    job="job-1",
    round=0,
    site="site-1",
    defences=[{"name": "clipped_gaussian", "args": {"noise_multiplier": 8.0}}],
    guarantees=[CLIENT],
    delta=1e-5,
    released_sha256="ab" * 32,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "ledger.jsonl"


def fill(path, rounds):
    return [ledger.append(path, replace(SPEND, round=r)) for r in range(rounds)]


def test_a_ledger_that_does_not_exist_is_empty(path):
    known = ledger.read(path)
    assert (known.entries, known.head, known.torn) == ((), ledger.GENESIS, False)


def test_epsilon_so_far_is_that_of_all_entries(path):
    entries = fill(path, 3)
    expected = [accounting.epsilon([CLIENT.event] * n, 1e-5) for n in (1, 2, 3)]
    assert [e.epsilons[0] for e in entries] == pytest.approx(expected)


def test_what_was_written_is_read_back(path):
    written = fill(path, 3)
    known = ledger.read(path)
    assert [e.hash for e in known.entries] == [e.hash for e in written]
    assert known.head == written[-1].hash
    assert known.entries[1].spend == replace(SPEND, round=1, guarantees=(CLIENT,))
    assert known.entries[1].previous == known.entries[0].hash


def test_the_ledger_is_for_its_owner_only(path):
    fill(path, 1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_changing_any_byte_of_any_line_is_noticed(path):
    fill(path, 3)
    content = path.read_bytes()
    for at in range(0, len(content) - 1, 7):
        changed = bytearray(content)
        changed[at] ^= 1
        path.write_bytes(bytes(changed))
        with pytest.raises(LedgerError, match=r"damaged|follow"):
            ledger.read(path)


@pytest.mark.parametrize("order", [[1, 2], [0, 2], [0, 2, 1], [0, 0, 1, 2]])
def test_removing_repeating_or_reordering_lines_is_noticed(path, order):
    fill(path, 3)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[i] for i in order))
    with pytest.raises(LedgerError):
        ledger.read(path)


def shorten(path):
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))


def forge(path):
    """The same lines, chained anew by someone who has not the site's key."""
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    lines[0]["spend"]["guarantees"][0]["event"]["noise_multiplier"] = 1e6
    previous, out = ledger.GENESIS, b""
    for body in lines:
        body.pop("hash")
        body["previous"] = previous
        text = json.dumps(body, sort_keys=True).encode()
        previous = hmac.new(bytes(32), text, "sha256").hexdigest()
        out += json.dumps({**body, "hash": previous}, sort_keys=True).encode() + b"\n"
    path.write_bytes(out)


def link(path):
    copy = path.with_name("elsewhere.jsonl")
    path.rename(copy)
    path.symlink_to(copy)


MEDDLED = {
    "deleted": (lambda p: p.unlink(), "was deleted, cut off or replaced"),
    "emptied": (lambda p: p.write_bytes(b""), "was deleted, cut off or replaced"),
    "cut off": (shorten, "was deleted, cut off or replaced"),
    "chained anew": (forge, "the hash differs"),
    "its witness deleted": (lambda p: witness_of(p).unlink(), "witness .* is gone"),
    "its witness emptied": (lambda p: witness_of(p).write_bytes(b""), "cannot be read"),
    "a link": (link, "it is a link"),
    "a dangling link": (lambda p: (link(p), p.resolve().unlink()), "it is a link"),
    "other white space": (
        lambda p: p.write_bytes(p.read_bytes().replace(b'": ', b'":  ', 1)),
        "not written as this ledger writes",
    ),
}


def witness_of(path):
    return path.parent / "medleak_state" / path.name / "witness.json"


@pytest.mark.parametrize("case", MEDDLED)
def test_a_ledger_that_was_meddled_with_stops_releases(path, case):
    fill(path, 4)
    meddle, message = MEDDLED[case]
    meddle(path)
    for use in (lambda: ledger.read(path), lambda: ledger.append(path, SPEND)):
        with pytest.raises(LedgerError, match=message):
            use()


def test_an_older_copy_put_back_stops_releases(path):
    fill(path, 2)
    copy = path.read_bytes()
    fill(path, 1)
    path.write_bytes(copy)
    with pytest.raises(LedgerError, match="holds 2 releases, and this site has accounted for 3"):
        ledger.append(path, SPEND)


def test_a_crash_between_line_and_witness_loses_nothing(path):
    fill(path, 2)
    before = witness_of(path).read_bytes()
    fill(path, 1)
    witness_of(path).write_bytes(before)
    assert ledger.append(path, SPEND).number == 4


def test_key_lock_and_witness_are_for_their_owner_only_whatever_the_umask(path):
    before = os.umask(0)
    try:
        fill(path, 1)
    finally:
        os.umask(before)
    for made in (path.parent, *path.parent.rglob("*")):
        wanted = 0o700 if made.is_dir() else 0o600
        assert stat.S_IMODE(made.stat().st_mode) == wanted, made


def test_lines_of_an_older_medleak_go_on_under_a_key(path):
    """Plain hashes, as format 1 had; from the first keyed line on they are fixed too."""
    body = {
        **{"format_version": 1, "number": 1, "time": "2026-01-01T00:00:00+00:00"},
        **{"spend": asdict(SPEND), "epsilons": [1.0], "previous": ledger.GENESIS},
    }
    for key in ("model_sha256",):
        body["spend"].pop(key)
    body["spend"]["guarantees"][0].pop("beside")
    text = json.dumps(body, sort_keys=True)
    line = {**body, "hash": hashlib.sha256(text.encode()).hexdigest()}
    path.parent.mkdir()
    path.write_text(json.dumps(line, sort_keys=True) + "\n")
    assert ledger.append(path, replace(SPEND, round=1)).number == 2
    assert [e.spend.round for e in ledger.read(path).entries] == [0, 1]
    path.write_bytes(path.read_bytes().replace(b'"site-1"', b'"site-2"', 1))
    with pytest.raises(LedgerError):
        ledger.read(path)


def test_a_copy_without_its_key_is_read_as_a_copy(path, tmp_path):
    fill(path, 2)
    copy = tmp_path / "handed over" / path.name
    copy.parent.mkdir()
    copy.write_bytes(path.read_bytes())
    assert (len(ledger.read_copy(copy).entries), ledger.read_copy(copy).keyed) == (2, False)
    assert ledger.read_copy(path).keyed
    with pytest.raises(LedgerError, match="witness"):
        ledger.read(copy)


def test_a_line_torn_by_a_crash_is_ignored_and_replaced(path):
    fill(path, 2)
    with path.open("ab") as file:
        file.write(b'{"number": 3, "spend"')
    assert ledger.read(path).torn
    assert len(ledger.read(path).entries) == 2
    assert ledger.append(path, replace(SPEND, round=2)).number == 3
    known = ledger.read(path)
    assert not known.torn
    assert [e.spend.round for e in known.entries] == [0, 1, 2]


def test_nothing_is_added_to_a_damaged_ledger(path):
    fill(path, 2)
    path.write_bytes(path.read_bytes().replace(b"site-1", b"site-2", 1))
    before = path.read_bytes()
    with pytest.raises(LedgerError, match=r"Line 1 .* nothing may be released"):
        ledger.append(path, SPEND)
    assert path.read_bytes() == before


def test_a_newer_format_is_refused(path):
    fill(path, 1)
    body = json.loads(path.read_text())
    body.pop("hash")
    body["format_version"] = 3
    line = json.dumps({**body, "hash": ledger._hash(body, None)}, sort_keys=True)
    path.write_text(line + "\n")
    with pytest.raises(LedgerError, match="format version"):
        ledger.read(path)


def test_jobs_at_the_same_time_do_not_lose_entries(path):
    def job(name):
        for r in range(8):
            ledger.append(path, replace(SPEND, job=name, round=r))

    threads = [threading.Thread(target=job, args=(f"job-{i}",)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ledger.read(path).entries) == 24


def test_a_heuristic_release_leaves_no_guarantee():
    bare = replace(SPEND, guarantees=[])
    assert ledger.spent([SPEND, bare], CLIENT, 1e-5) is None
    assert ledger.would_exceed([bare], CLIENT, target_epsilon=1e9, target_delta=1e-5) == float(
        "inf"
    )


def test_guarantees_of_other_units_are_composed_by_themselves():
    record = dp_sgd(noise_multiplier=1.0, sample_rate=0.1, steps=10)
    both = replace(SPEND, guarantees=[record, CLIENT])
    assert ledger.spent([both, both], record, 1e-5) == pytest.approx(
        accounting.epsilon([record.event] * 2, 1e-5)
    )
    assert ledger.spent([both, SPEND], record, 1e-5) is None
    assert ledger.spent([both, SPEND], CLIENT, 1e-5) == pytest.approx(
        accounting.epsilon([CLIENT.event] * 2, 1e-5)
    )


def test_balances_are_what_the_last_line_says(path):
    entries = fill(path, 3)
    (balance,) = ledger.balances(ledger.read(path).entries)
    assert (balance.unit, balance.relation, balance.delta) == ("client", "replace", 1e-5)
    assert balance.epsilon == pytest.approx(entries[-1].epsilons[0])
    bare = ledger.append(path, replace(SPEND, guarantees=[]))
    assert ledger.balances([*entries, bare])[0].epsilon is None
    assert ledger.balances([bare]) == []


def test_ledgers_of_all_sites_of_a_run_are_found(tmp_path):
    paths = [tmp_path / site / ledger.FILE_NAME for site in ("site-1", "site-2")]
    for p in paths:
        ledger.append(p, SPEND)
    assert ledger.find(tmp_path) == paths
    assert ledger.find(paths[0]) == paths[:1]


def test_the_budget_stops_before_it_is_overspent(path):
    limit = accounting.epsilon([CLIENT.event] * 3, 1e-5) * 1.0001
    for r in range(3):
        ledger.append(path, replace(SPEND, round=r), target_epsilon=limit)
    before = path.read_bytes()
    with pytest.raises(BudgetExceeded, match="One more release would bring ε to"):
        ledger.append(path, replace(SPEND, round=3), target_epsilon=limit)
    assert path.read_bytes() == before


def test_a_heuristic_has_no_place_in_a_budget(path):
    with pytest.raises(BudgetExceeded, match="heuristics"):
        ledger.append(path, replace(SPEND, guarantees=[]), target_epsilon=1e9)


def test_an_unwritable_ledger_stops_the_release(tmp_path):
    with pytest.raises(LedgerError, match="not a plain file"):
        ledger.append(tmp_path, SPEND)
    (tmp_path / "medleak_state").write_text("in the way")
    with pytest.raises(OSError, match="directory"):
        ledger.append(tmp_path / "ledger.jsonl", SPEND)
