"""Protected updates that a site has accounted for, kept so that a round can be sent again.

They lie beside the ledger's witness, a file for each round of each job. A round is released once:
asked for again, it is the stored update that leaves, or nothing.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from medleak.filters import storage
from medleak.filters.privacy import witness
from medleak.filters.privacy.ledger import Book, Entry, Spend
from medleak.filters.update import Update, UpdateError

ROUNDS_KEPT = 3  # of a job; a server that repeats a round repeats one of the last
JOBS_KEPT = 4  # that released last

Release = tuple[Entry, Mapping[str, Any]]


def digest_of(state: Mapping[str, Any]) -> str:
    """SHA-256 of a model: names in order, dtypes, shapes and values."""
    digest = hashlib.sha256()
    for name, value in state.items():
        array = np.asarray(value)
        digest.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def last(entries: Sequence[Entry], job: str, round_number: int) -> Entry | None:
    """The latest entry of this round of this job."""
    same = (e for e in reversed(entries) if (e.spend.job, e.spend.round) == (job, round_number))
    return next(same, None)


def is_stored(ledger: Path, entry: Entry) -> bool:
    """Whether the update of ``entry`` is still there, as it was released."""
    path = _place(ledger, entry.spend.job, entry.spend.round)
    return storage.is_intact(path, entry.spend.released_sha256)


def find(book: Book, spend: Spend) -> Release | None:
    """The stored release of this job and round; None if the round was never released.

    Raises:
        UpdateError: It was, and cannot be sent again: another release would be a second look at
            the same data under the first one's ε.
    """
    entry = last(book.entries, spend.job, spend.round)
    if entry is None:
        return None
    where = f"Round {spend.round} of job {spend.job!r} is accounted for in line {entry.number}"
    if entry.spend.model_sha256 not in ("", spend.model_sha256):
        raise UpdateError(
            f"{where}, for another model than the one that the server now sent: the stored update "
            "does not fit it, and a round is released once. Go on with the next round."
        )
    path = _place(book.path, spend.job, spend.round)
    stored = storage.read_if(path, entry.spend.released_sha256)
    if stored is None:
        raise UpdateError(
            f"{where}, and its update is no longer stored (the last {ROUNDS_KEPT} rounds are): a "
            "round is released once. Go on with the next round."
        )
    return entry, stored


def make(book: Book, spend: Spend, update: Update, target_epsilon: float | None) -> Release:
    """Store ``update``, then account for it; what is returned may leave.

    Raises:
        BudgetExceeded: It costs too much; nothing is accounted for, and nothing stays stored.
    """
    path = _place(book.path, spend.job, spend.round)
    storage.remove_parts(path.parent)  # of a process that was killed; nobody else writes: the lock
    digest = storage.save(path, update)
    try:
        entry = book.append(replace(spend, released_sha256=digest), target_epsilon=target_epsilon)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    _forget(book)
    return entry, update


def _forget(book: Book) -> None:
    """Remove what is stored of rounds and jobs further back than is kept."""
    rounds: dict[str, list[int]] = {}
    for entry in reversed(book.entries):
        if entry.spend.job in rounds or len(rounds) < JOBS_KEPT:
            rounds.setdefault(entry.spend.job, []).append(entry.spend.round)
    kept = {
        _place(book.path, job, number).name
        for job, numbers in rounds.items()
        for number in list(dict.fromkeys(numbers))[:ROUNDS_KEPT]
    }
    for path in witness.folder_of(book.path).glob("*.safetensors"):
        if path.name not in kept:
            path.unlink(missing_ok=True)


def _place(ledger: Path, job: str, round_number: int) -> Path:
    name = hashlib.sha256(job.encode()).hexdigest()[:32]
    return witness.folder_of(ledger) / f"{name}_{round_number:09d}.safetensors"
