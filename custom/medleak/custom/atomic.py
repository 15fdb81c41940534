"""Files, and folders of files, that appear whole or not at all, for their owner only."""

import contextlib
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from medleak.filters import storage

_PART = ".part"


def write_atomic(path: Path, data: storage.Content) -> None:
    """Make ``path`` hold ``data``, whole or not at all, and outlive a power cut.

    Missing folders are made. File and folders are for their owner only whatever the umask: records,
    lists, pictures and reports show patients' images or tell of them. On an error (``OSError``) the
    old content, if any, stays and nothing new is left behind.
    """
    storage.write(path, data)


@contextlib.contextmanager
def whole_folder(out: Path, last: str = "") -> Iterator[Path]:
    """A new folder to write to, beside ``out``, that becomes ``out`` when the block is done.

    After an error, Ctrl-C or SIGTERM, ``out`` is as it was and nothing else is left. A process that
    was killed outright leaves a hidden folder ``.NAME.….part``, which the next call for the same
    ``out`` removes. Where ``out`` holds files already, the new ones are moved among them one by
    one, and replace what has their name.

    Args:
        out: May be missing; what is missing above it is made.
        last: Name of the file by which a reader tells that the folder is complete: where files are
            moved one by one, the old one goes first and the new one comes last.

    Raises:
        OSError: The disk refuses a file, or ``out`` is one.
    """
    out = out.resolve()
    made = [p for p in (out.parent, *out.parent.parents) if not p.exists()]
    storage.make_private(out.parent)
    _remove_abandoned(out)
    part = Path(tempfile.mkdtemp(prefix=f".{out.name[:80]}.", suffix=_PART, dir=out.parent))
    lock = _lock(part)
    try:
        with _ended_by_signal():
            yield part
        _put(part, out, last)
    finally:
        if lock is not None:
            os.close(lock)
        shutil.rmtree(part, ignore_errors=True)
        if not out.exists():
            for folder in made:
                with contextlib.suppress(OSError):  # somebody else put something there
                    folder.rmdir()


def _put(part: Path, out: Path, last: str) -> None:
    """Make ``part`` the folder ``out``, or its content a part of it."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        part.chmod(0o700)
        part.replace(out)
        return
    prefix = f".{out.name[:80]}."
    with tempfile.TemporaryDirectory(prefix=prefix, suffix=_PART, dir=out.parent) as folder:
        old = Path(folder)
        if last and (out / last).exists():
            (out / last).replace(old / last)
        for path in sorted(part.iterdir(), key=lambda path: (path.name == last, path.name)):
            target = out / path.name
            if target.is_dir() or (path.is_dir() and target.exists()):
                target.replace(old / path.name)
            path.replace(target)


def _remove_abandoned(out: Path) -> None:
    """Remove what killed processes left of ``out``: parts that nobody holds the lock of."""
    for path in out.parent.iterdir():
        if not path.name.startswith(f".{out.name[:80]}.") or not path.name.endswith(_PART):
            continue
        if path.is_dir() and not path.is_symlink() and (lock := _lock(path)) is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)


def _lock(folder: Path) -> int | None:
    """A descriptor that holds the folder's lock until it is closed or its process ends."""
    if os.name != "posix":
        return None
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # another process writes there, or the file system has no locks
        os.close(descriptor)
        return None
    return descriptor


@contextlib.contextmanager
def _ended_by_signal() -> Iterator[None]:
    """Let SIGTERM raise SystemExit, where nobody else handles it, so that a ``finally`` is run."""
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
