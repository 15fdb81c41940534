"""What a site knows of its ledger outside of the ledger's file: a key, and how far it had come.

Kept in ``medleak_state/<name of the ledger>/`` beside it, for the owner only: the *witness* (a key
made at the site, and number and hash of the last line), the lock under which a release is accounted
for, and the protected updates that may be sent again. A ledger that was deleted, emptied, cut off
or replaced by an older copy does not reach what its witness saw. Whoever restores or deletes ledger
*and* witness together is noticed by comparing with the heads that the server's record holds
(``medleak ledger --check``), not here.
"""

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from medleak.filters import storage

STATE_DIR = "medleak_state"
GENESIS = "0" * 64
_LONGEST = 10_000  # bytes; a witness has about 250


class LedgerError(ValueError):
    """A ledger that is damaged or was tampered with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """The key of a ledger's lines, and number and hash of the last that was accounted for."""

    key: bytes
    number: int = 0
    head: str = GENESIS

    @classmethod
    def new(cls) -> Self:
        """The witness of a ledger that has no line yet, with a key of its own."""
        return cls(key=secrets.token_bytes(32))

    def saw(self, number: int, head: str) -> "Witness":
        """This witness, after it saw one more line."""
        return replace(self, number=number, head=head)


def folder_of(ledger: Path) -> Path:
    """Where the witness of ``ledger`` is, its lock, and the updates released under it."""
    return ledger.parent / STATE_DIR / ledger.name


def read(ledger: Path) -> Witness | None:
    """The witness of ``ledger``; None if there never was one.

    Raises:
        LedgerError: It is there and cannot be read.
    """
    path = folder_of(ledger) / "witness.json"
    try:
        raw = json.loads(storage.read_bounded(path, _LONGEST))
        return Witness(
            key=bytes.fromhex(raw["key"]), number=int(raw["number"]), head=str(raw["head"])
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise LedgerError(
            f"The witness of the ledger, {path}, cannot be read ({error}). Restore it from a "
            "backup; until then the ε that was spent is unknown and nothing may be released."
        ) from error


def write(ledger: Path, witness: Witness) -> None:
    """Put ``witness`` on the disk, whole or not at all."""
    raw = {"key": witness.key.hex(), "number": witness.number, "head": witness.head}
    storage.write(folder_of(ledger) / "witness.json", json.dumps(raw).encode() + b"\n")


@contextlib.contextmanager
def locked(ledger: Path) -> Iterator[None]:
    """Hold the one lock under which releases are accounted for, stored and sent (POSIX)."""
    folder = folder_of(ledger)
    storage.make_private(folder)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(folder / "lock", flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # also gives the lock back
