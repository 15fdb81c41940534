"""The privacy ledger: what a site released, append-only and hash-chained, on disk.

One JSON object a line; each carries the SHA-256 of the line before. An entry is on the disk before
the update leaves, so a crash never loses spent ε. A changed, removed or reordered line breaks the
chain. Cutting off the *end* leaves a valid chain: compare :attr:`Verified.head` with the head that
the site declared beside its last update (a record keeps it).
"""

import contextlib
import fcntl
import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from medleak.filters.privacy import accounting
from medleak.filters.privacy.accounting import Guarantee, Unit

FILE_NAME = "medleak_ledger.jsonl"
FORMAT_VERSION = 1
GENESIS = "0" * 64


class LedgerError(ValueError):
    """A ledger that is damaged or was tampered with."""


class BudgetExceeded(RuntimeError):
    """A release that would cost more than the site allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """One release: who, when in the job, under which defences, with which guarantees.

    Without guarantees all defences are heuristics, and ε is "none". Several hold side by side
    (DP-SGD for records, a clipped Gaussian for the client). ``released_sha256`` identifies the
    protected update, so that sending it again costs nothing. ε is reported at ``delta``.
    """

    job: str
    round: int
    site: str
    defences: Sequence[Mapping[str, Any]]
    guarantees: Sequence[Guarantee]
    delta: float
    released_sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A line of the ledger: the spend, and its place in the chain.

    ``epsilons`` is ε so far, this release included, of each guarantee in its order; None where an
    earlier release lacks that guarantee.
    """

    number: int
    time: str
    spend: Spend
    epsilons: Sequence[float | None]
    previous: str
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """ε of everything in a ledger; None if some release has no guarantee of this kind."""

    unit: Unit
    relation: str
    delta: float
    epsilon: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """All entries of an intact ledger, the hash of the last, and whether a torn line follows.

    A torn last line is what a crash while writing leaves: its update was never sent.
    """

    entries: tuple[Entry, ...]
    head: str
    torn: bool


def read(path: Path) -> Verified:
    """Read and verify the ledger at ``path``; a file that does not exist is an empty ledger.

    Raises:
        LedgerError: A line is changed, missing, out of order, or of a newer format.
    """
    return _parse(path.read_bytes() if path.exists() else b"", path)


def find(run: Path) -> list[Path]:
    """The ledgers under ``run``: a file itself, a site's folder, or a workspace of several."""
    return [run] if run.is_file() else sorted(run.rglob(FILE_NAME))


def balances(entries: Sequence[Entry]) -> list[Balance]:
    """ε spent so far, for each unit and relation that any entry has a guarantee for.

    Empty if all releases were heuristic: "ε: none". Each at the δ of the last entry that has it.
    """
    spends = [e.spend for e in entries]
    last = {(g.unit, g.relation): (g, s.delta) for s in spends for g in s.guarantees}
    return [
        Balance(unit=g.unit, relation=g.relation, delta=delta, epsilon=spent(spends, g, delta))
        for g, delta in last.values()
    ]


def append(path: Path, spend: Spend, *, target_epsilon: float | None = None) -> Entry:
    """Add ``spend``; when this returns, it is on the disk.

    Safe for several processes of one site (POSIX file lock): the budget is checked and spent under
    one lock. Creates the file, readable by its owner only.

    Args:
        path: The ledger's file.
        spend: What is about to be released.
        target_epsilon: Refuse if ε of any of ``spend``'s guarantees would be over this.

    Raises:
        BudgetExceeded: It would; nothing was written.
        LedgerError: The ledger is damaged: nothing may be released before a person has looked.
        OSError: The disk is full or read-only.
    """
    with _locked(path) as descriptor:
        content = _read_all(descriptor)
        known = _parse(content, path)
        if known.torn:
            os.ftruncate(descriptor, content.rfind(b"\n") + 1)
        spends = [e.spend for e in known.entries]
        if target_epsilon is not None:
            check_budget(spends, spend.guarantees, target_epsilon, spend.delta)
        spends.append(spend)
        body = {
            "format_version": FORMAT_VERSION,
            "number": len(spends),
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "spend": asdict(spend),
            "epsilons": [spent(spends, g, spend.delta) for g in spend.guarantees],
            "previous": known.head,
        }
        line = json.dumps({**body, "hash": _hash(body)}, sort_keys=True).encode() + b"\n"
        os.lseek(descriptor, 0, os.SEEK_END)
        if os.write(descriptor, line) != len(line):
            raise OSError(f"The ledger {path} could not be written in full: is the disk full?")
        os.fsync(descriptor)
    return _parse(line, path, first=len(spends), previous=known.head).entries[0]


def spent(spends: Sequence[Spend], like: Guarantee, delta: float) -> float | None:
    """ε of all ``spends`` for the unit and relation of ``like``; None if one has no such guarantee.

    A guarantee holds for a site only if *every* release carries it: one bare update undoes it.
    """
    events = []
    for spend in spends:
        alike = [g for g in spend.guarantees if (g.unit, g.relation) == (like.unit, like.relation)]
        if not alike:
            return None
        events += [g.event for g in alike]
    return accounting.epsilon(events, delta)


def would_exceed(
    spends: Sequence[Spend], planned: Guarantee, *, target_epsilon: float, target_delta: float
) -> float | None:
    """ε after one more release with ``planned``, if over ``target_epsilon``; None if within.

    Infinite where an earlier release lacks the guarantee.
    """
    before = spent(spends, planned, target_delta)
    if before is None:
        return math.inf
    last = Spend(job="", round=0, site="", defences=(), guarantees=(planned,), delta=target_delta)
    after = spent([*spends, last], planned, target_delta)
    return after if after is not None and after > target_epsilon else None


def check_budget(
    spends: Sequence[Spend],
    planned: Sequence[Guarantee],
    target_epsilon: float,
    target_delta: float,
) -> None:
    """Raise :class:`BudgetExceeded` if one more release with ``planned`` exceeds the target."""
    if not planned:
        raise BudgetExceeded(
            f"The site allows ε = {target_epsilon:g}, but the planned defences are heuristics "
            "without a bound (ε: none). Use a clipped mechanism or DP-SGD, or set no target."
        )
    for guarantee in planned:
        after = would_exceed(
            spends, guarantee, target_epsilon=target_epsilon, target_delta=target_delta
        )
        if after is not None:
            raise BudgetExceeded(
                f"One more release would bring ε to {after:.4g} at δ = {target_delta:g} "
                f"({guarantee.unit}, {guarantee.relation}), over the {target_epsilon:g} that this "
                "site allows. The budget is spent: no further rounds on this data."
            )


def _parse(content: bytes, path: Path, *, first: int = 1, previous: str = GENESIS) -> Verified:
    whole, newline, tail = content.rpartition(b"\n")
    entries = []
    for number, line in enumerate(whole.split(b"\n") if newline else [], start=first):
        entry = _entry(line, path, number)
        if entry.previous != previous:
            raise LedgerError(
                f"Line {number} of the ledger {path} does not follow line {number - 1}: a line was "
                "removed or put elsewhere. Restore the ledger from a backup; until then the ε that "
                "was spent is unknown and nothing may be released."
            )
        entries.append(entry)
        previous = entry.hash
    return Verified(entries=tuple(entries), head=previous, torn=bool(tail))


def _entry(line: bytes, path: Path, number: int) -> Entry:
    try:
        body = json.loads(line)
        claimed = body.pop("hash")
        intact = claimed == _hash(body) and body["number"] == number
        if not intact or body.pop("format_version") != FORMAT_VERSION:
            raise ValueError("hash, number or format version differ")
        raw = body.pop("spend")
        guarantees = tuple(Guarantee(**g) for g in raw.pop("guarantees"))
        return Entry(spend=Spend(guarantees=guarantees, **raw), hash=claimed, **body)
    except (ValueError, TypeError, KeyError, AttributeError) as e:
        raise LedgerError(
            f"Line {number} of the ledger {path} is damaged or was changed ({e}). Restore it from "
            "a backup; until then the ε that was spent is unknown and nothing may be released."
        ) from e


def _hash(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)  # also gives the lock back


def _read_all(descriptor: int) -> bytes:
    os.lseek(descriptor, 0, os.SEEK_SET)
    with os.fdopen(os.dup(descriptor), "rb") as file:
        return file.read()
