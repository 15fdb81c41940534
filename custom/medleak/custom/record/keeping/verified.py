"""What of a record was verified before, so that only what has changed since is read again.

The memory is no part of the record, which may be a stranger's. It lies with the user who verifies,
in ``$XDG_STATE_HOME/medleak/verified`` (``~/.local/state/medleak/verified``), a file a record.
Lines are only ever added. Each holds an HMAC-SHA-256 over itself and the line before it, with a
key that lies beside and that nobody else can read: a file that somebody else wrote, or changed, is
not used.

An update is taken for unchanged, and is not read again, where all of this holds:

- its ``.json``, read anew, has the SHA-256 that it had; it holds the hashes of the tensors;
- every tensor file that it needs is a plain file, in a folder that is no link, and has the size,
  ``mtime_ns``, ``ctime_ns``, inode and device that it had when it was read and its hash was right;
- no file has appeared that would be read in its place;
- the record's format version and the code that checks it are the same.

So a file that was written to since is found, also where its length and its time of modification
were restored, as the file system sets ``ctime`` by itself. Not found is what bypasses the file
system: its disk written to directly, or a clock that was set back. For these everything must be
read: `verify_again` with ``everything``.
"""

import contextlib
import functools
import hashlib
import hmac
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from medleak.custom.record.compression import compressed_place
from medleak.custom.record.files import beside_of, other_model, paths
from medleak.custom.record.fingerprints import fingerprint, settled
from medleak.custom.record.reading import Reader, list_updates, read_model
from medleak.custom.record.tensors import RecordError
from medleak.filters import storage

Seal = dict[str, Any]
"""What `holds` compares: the format version, the SHA-256 of the ``.json``, fingerprints by file."""

_FORMAT = 1
_SIDECAR = 1_000_000  # bytes; larger ones are refused when they are read


@dataclass(frozen=True, slots=True)
class Checked:
    """What is known of one update: ``error`` None, it is as recorded. ``read``: it was read now."""

    round: int
    site: str
    error: str | None
    read: bool


class Memory:
    """What of one record was found right before; opened by `remembered`.

    Attributes:
        why_not: Why something that was verified before is not used, or will not be the next time;
            empty where all is well.
        since: When this memory was last added to, before now; None for never.
    """

    def __init__(self, root: Path, file: BinaryIO | None, key: bytes, why_not: str = "") -> None:
        """Take up what ``file`` holds; None: nothing is remembered, and ``why_not`` says why."""
        self.why_not, self.since = why_not, None
        self._file, self._key, self._last = file, key, b""
        self._known: dict[tuple[int, str], Seal] = {}
        self._head = {"format": _FORMAT, "root": str(root), "code": _code()}
        if file is not None:
            self._take_up(file)

    def holds(self, round: int, site: str, seal: Seal) -> bool:
        """Whether that update was right when all its files were as in ``seal``."""
        return self._known.get((round, site)) == seal

    def note(self, round: int, site: str, seal: Seal) -> None:
        """It is right, with its files as in ``seal``."""
        if not self._last:
            self._append(self._head)
        self._append({"round": round, "site": site, "seal": seal})

    def forget(self) -> None:
        """Begin anew."""
        self._known, self._last = {}, b""
        if self._file is not None:
            self._file.seek(0)
            self._file.truncate()

    def _take_up(self, file: BinaryIO) -> None:
        *lines, _torn = file.read().split(b"\n")  # the last is empty, or was cut by a kill
        for number, line in enumerate(lines):
            text, _, mac = line.rpartition(b" ")
            if not hmac.compare_digest(mac, self._mac(text)):
                self.why_not = (
                    "what was verified before is not used, as its file was changed by something "
                    "other than medleak"
                )
                return self.forget()
            entry, self._last = json.loads(text), mac
            if number == 0 and entry != self._head:
                return self.forget()  # of other code, whose checks may have been weaker
            if number:
                self._known[entry["round"], entry["site"]] = entry["seal"]
        if lines:
            written = time.localtime(os.fstat(file.fileno()).st_mtime)
            self.since = time.strftime("%Y-%m-%d %H:%M", written)
        file.seek(sum(len(line) + 1 for line in lines))
        file.truncate()
        return None

    def _mac(self, text: bytes) -> bytes:
        return hmac.new(self._key, self._last + text, hashlib.sha256).hexdigest().encode()

    def _append(self, entry: dict[str, Any]) -> None:
        if self._file is None:
            return
        text = json.dumps(entry, separators=(",", ":")).encode()
        self._last = self._mac(text)
        try:
            self._file.write(text + b" " + self._last + b"\n")
            self._file.flush()
        except OSError as error:  # what is not remembered is read again
            self.why_not = f"not all of this will be known the next time ({error.strerror})"
            self._file = None


@contextlib.contextmanager
def remembered(root: Path) -> Iterator[Memory]:
    """The memory of the record at ``root``, of this user; empty where it cannot be used."""
    place = _place()
    root = Path(root).resolve()
    name = hashlib.sha256(os.fsencode(root)).hexdigest()[:32]
    with contextlib.ExitStack() as stack:
        try:
            key = _key(place)
            file = stack.enter_context(_locked(place / f"{name}.jsonl"))
        except OSError as error:
            why = (
                f"what is verified now will not be known the next time ({error.strerror or error})"
            )
            yield Memory(root, None, b"", why)
        else:
            yield Memory(root, file, key)


def verify_again(root: Path, memory: Memory, *, everything: bool = False) -> Iterator[Checked]:
    """Read the updates that changed since they were last found right; all, with ``everything``.

    Raises:
        RecordError: The manifest cannot be read.
    """
    reader = Reader(Path(root))
    if everything:
        memory.forget()
    for round, site in list_updates(root):
        before = _seal(reader, round, site)
        if before is not None and memory.holds(round, site, before):
            yield Checked(round, site, None, read=False)
            continue
        started = time.time()
        try:
            reader.check(round, site)
        except RecordError as error:
            yield Checked(round, site, str(error), read=True)
            continue
        same = before is not None and before == _seal(reader, round, site)
        if before is not None and same and _is_settled(before, started):
            memory.note(round, site, before)
        yield Checked(round, site, None, read=True)


def kept_models(root: Path) -> Iterator[tuple[int, str | None]]:
    """Read each model that outlived its round's updates; yield (round, None or what is wrong)."""
    for round in sorted(Reader(Path(root)).manifest.kept_models):
        try:
            read_model(root, round)
        except RecordError as error:
            yield round, str(error)
        else:
            yield round, None


def _seal(reader: Reader, round: int, site: str) -> Seal | None:
    """All by which an update is known again; None: by nothing, so it has to be read."""
    folder = reader.root / f"round_{round:04d}"
    tensors, sidecar = paths(folder, site)
    try:
        text = storage.read_bounded(sidecar, _SIDECAR)
        hashes = json.loads(text)["sha256"]
        needed = [tensors, folder / "global.safetensors", other_model(folder, hashes["global"])]
        if hashes.get("beside") is not None:
            needed.append(beside_of(folder, site))
        files = [sidecar, *needed, *map(compressed_place, needed)]
        if any(place.is_symlink() for place in {file.parent for file in files}):
            return None
        marks = {str(file.relative_to(reader.root)): fingerprint(file) for file in files}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    digest = hashlib.sha256(text).hexdigest()
    return {"version": reader.version, "json": digest, "files": marks}


def _is_settled(seal: Seal, now: float) -> bool:
    return all(mark is None or settled(mark, now) for mark in seal["files"].values())


@functools.cache
def _code() -> str:
    """SHA-256 of the code that checks a record: what weaker checks passed is read again."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.parent.rglob("*.py")):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _place() -> Path:
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "medleak" / "verified"


def _key(place: Path) -> bytes:
    """This user's secret, made if missing.

    Raises:
        OSError: It cannot be made or read, or is open to others.
    """
    path = place / "key"
    if not path.exists():
        storage.write(path, os.urandom(32))
    _require_private(place)
    _require_private(path)
    return storage.read_bounded(path, 32)


def _require_private(path: Path) -> None:
    found = path.lstat()
    if os.name != "posix" or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise OSError(f"{path} is open to others than you")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    """The file, made if missing, while nobody else has it.

    Raises:
        OSError: Somebody has, or it is open to others.
    """
    import fcntl

    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o600), "r+b") as file:
        _require_private(path)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise OSError("the same record is being verified at this moment") from None
        yield file
