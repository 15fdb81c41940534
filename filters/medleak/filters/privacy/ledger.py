"""The privacy ledger: what a site released, append-only and chained by a key, on disk.

One JSON object a line; each carries the hash of the line before, keyed (HMAC-SHA-256) with a key
that was made at the site. An entry is on the disk before the update leaves, so a crash never loses
spent ε. A changed, removed or reordered line breaks the chain, a missing end does not reach the
:mod:`~medleak.filters.privacy.witness` of the ledger: then nothing may be released.
"""

import contextlib
import hashlib
import hmac
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from medleak.filters import storage
from medleak.filters.privacy import accounting, witness
from medleak.filters.privacy.accounting import Guarantee, Unit
from medleak.filters.privacy.witness import GENESIS, LedgerError, Witness

__all__ = [
    "FILE_NAME",
    "GENESIS",
    "Balance",
    "Book",
    "BudgetExceeded",
    "Entry",
    "LedgerError",
    "Spend",
    "Verified",
    "append",
    "balances",
    "check_budget",
    "find",
    "opened",
    "read",
    "read_copy",
    "spent",
    "would_exceed",
]

FILE_NAME = "medleak_ledger.jsonl"
FORMAT_VERSION = 2
_UNKEYED = 1  # lines of an older medleak, with plain hashes; a keyed line that follows fixes them
_LONGEST = 100_000_000  # bytes; a line has about 1,000


class BudgetExceeded(RuntimeError):
    """A release that would cost more than the site allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """One release: who, when in the job, under which defences, with which guarantees.

    Without guarantees all defences are heuristics, and ε is "none". Several hold side by side
    (DP-SGD for records, a clipped Gaussian for the client). ``released_sha256`` identifies the
    protected update, so that sending it again costs nothing, and ``model_sha256`` the model that
    it was trained from. ε is reported at ``delta``.
    """

    job: str
    round: int
    site: str
    defences: Sequence[Mapping[str, Any]]
    guarantees: Sequence[Guarantee]
    delta: float
    released_sha256: str = ""
    model_sha256: str = ""


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

    A torn last line is what a crash while writing leaves: its update was never sent. ``keyed``:
    verified with the site's key; otherwise only that no line is missing in between.
    """

    entries: tuple[Entry, ...]
    head: str
    torn: bool
    keyed: bool = True


class Book:
    """A ledger under its lock: what it says, and one more line."""

    def __init__(self, path: Path, seen: Witness | None) -> None:
        """Read and verify; see :func:`opened`."""
        self.path = path
        known = _checked(path, _content(path), seen)
        self.entries = list(known.entries)
        self._witness = seen or Witness.new().saw(len(known.entries), known.head)
        if seen is None:
            witness.write(path, self._witness)  # before the first line: no line without its key

    def append(self, spend: Spend, *, target_epsilon: float | None = None) -> Entry:
        """Add ``spend``; when this returns, it is on the disk.

        Raises:
            BudgetExceeded: ε of one of its guarantees would be over ``target_epsilon``; nothing
                was written.
            OSError: The disk is full or read-only.
        """
        spends = [e.spend for e in self.entries]
        if target_epsilon is not None:
            check_budget(spends, spend.guarantees, target_epsilon, spend.delta)
        spends.append(spend)
        previous = self.entries[-1].hash if self.entries else GENESIS
        body = {
            "format_version": FORMAT_VERSION,
            "number": len(spends),
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "spend": asdict(spend),
            "epsilons": [spent(spends, g, spend.delta) for g in spend.guarantees],
            "previous": previous,
        }
        line = _dump({**body, "hash": _hash(body, self._witness.key)})
        _write_line(self.path, line)
        (entry,) = _parse(
            line + b"\n", self.path, self._witness.key, first=len(spends), previous=previous
        ).entries
        self.entries.append(entry)
        self._witness = self._witness.saw(entry.number, entry.hash)
        witness.write(self.path, self._witness)
        return entry


def read(path: Path) -> Verified:
    """Read and verify the ledger at ``path``; a file that never was is an empty ledger.

    Raises:
        LedgerError: A line is changed, missing, out of order, or of a newer format; or the file is
            not what its witness saw.
    """
    seen = witness.read(path)  # first: a release in between may only add lines
    return _checked(path, _content(path), seen)


def read_copy(path: Path) -> Verified:
    """As :func:`read`; a copy without its witness is verified as far as is possible without a key.

    For reports on what a site handed over; a site itself must not take a missing witness for good.
    """
    if witness.read(path) is not None:
        return read(path)
    return _parse(_content(path), path, None)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Book]:
    """The verified ledger at ``path``, under the lock of all its releases; made if missing.

    Safe for several processes of one site: budget, storing, accounting and sending are one step.

    Raises:
        LedgerError: The ledger is damaged: nothing may be released before a person has looked.
    """
    with witness.locked(path):
        yield Book(path, witness.read(path))


def find(run: Path) -> list[Path]:
    """The ledgers under ``run``: a file itself, a site's folder, or a workspace of several."""
    return [run] if run.is_file() else sorted(p for p in run.rglob(FILE_NAME) if p.is_file())


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
    """Add ``spend`` to the ledger at ``path``; see :func:`opened` and :meth:`Book.append`."""
    with opened(path) as book:
        return book.append(spend, target_epsilon=target_epsilon)


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


def _content(path: Path) -> bytes:
    try:
        return storage.read_bounded(path, _LONGEST)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise LedgerError(
            f"The ledger {path} cannot be read ({error.strerror}): the ε that was spent is unknown "
            "and nothing may be released. Restore the file."
        ) from error


def _checked(path: Path, content: bytes, seen: Witness | None) -> Verified:
    """``content``, verified and compared with what the witness ``seen`` saw."""
    known = _parse(content, path, seen.key if seen else None)
    restore = (
        "Restore both from one backup and count what was released since; until then the ε that was "
        "spent is unknown and nothing may be released."
    )
    if seen is None:
        if not known.keyed or list(witness.folder_of(path).glob("*.safetensors")):
            raise LedgerError(
                f"The witness of the ledger {path} is gone from {witness.folder_of(path)}: without "
                f"it nobody can tell whether lines are missing. {restore}"
            )
        return known
    hashes = [GENESIS, *(e.hash for e in known.entries)]
    if len(hashes) <= seen.number or hashes[seen.number] != seen.head:
        raise LedgerError(
            f"The ledger {path} holds {len(known.entries)} releases, and this site has accounted "
            f"for {seen.number}: it was deleted, cut off or replaced by an older copy. {restore}"
        )
    return known


def _write_line(path: Path, line: bytes) -> None:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        with os.fdopen(os.dup(descriptor), "rb") as file:
            end = file.read().rfind(b"\n") + 1  # a torn line behind it was never sent
        os.ftruncate(descriptor, end)
        os.lseek(descriptor, 0, os.SEEK_END)
        if os.write(descriptor, line + b"\n") != len(line) + 1:
            os.ftruncate(descriptor, end)
            raise OSError(f"The ledger {path} could not be written in full: is the disk full?")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _parse(
    content: bytes, path: Path, key: bytes | None, *, first: int = 1, previous: str = GENESIS
) -> Verified:
    whole, newline, tail = content.rpartition(b"\n")
    entries, keyed = [], False
    for number, line in enumerate(whole.split(b"\n") if newline else [], start=first):
        entry, version = _entry(line, path, number, key)
        if entry.previous != previous or (keyed and version == _UNKEYED):
            raise LedgerError(
                f"Line {number} of the ledger {path} does not follow line {number - 1}: a line was "
                "removed or put elsewhere. Restore the ledger from a backup; until then the ε that "
                "was spent is unknown and nothing may be released."
            )
        entries.append(entry)
        previous, keyed = entry.hash, version != _UNKEYED
    verified = key is not None or not keyed
    return Verified(entries=tuple(entries), head=previous, torn=bool(tail), keyed=verified)


def _entry(line: bytes, path: Path, number: int, key: bytes | None) -> tuple[Entry, int]:
    try:
        body = json.loads(line)
        if _dump(body) != line:
            raise ValueError("it is not written as this ledger writes")
        claimed, version = body.pop("hash"), body["format_version"]
        if version not in (FORMAT_VERSION, _UNKEYED) or body["number"] != number:
            raise ValueError("number or format version differ")
        if version == _UNKEYED or key is not None:
            wanted = _hash(body, None if version == _UNKEYED else key)
            if not hmac.compare_digest(str(claimed), wanted):
                raise ValueError("the hash differs")
        body.pop("format_version")
        raw = body.pop("spend")
        guarantees = tuple(_guarantee(g) for g in raw.pop("guarantees"))
        return Entry(spend=Spend(guarantees=guarantees, **raw), hash=claimed, **body), version
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as e:
        raise LedgerError(
            f"Line {number} of the ledger {path} is damaged or was changed ({e}). Restore it from "
            "a backup; until then the ε that was spent is unknown and nothing may be released."
        ) from e


def _guarantee(raw: Mapping[str, Any]) -> Guarantee:
    return Guarantee(**{**raw, "beside": tuple(raw.get("beside", ()))})


def _dump(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True).encode()


def _hash(body: Mapping[str, Any], key: bytes | None) -> str:
    text = _dump(body)
    if key is None:
        return hashlib.sha256(text).hexdigest()
    return hmac.new(key, text, hashlib.sha256).hexdigest()
