"""What a site keeps on its disk between rounds: written whole or not at all, for its owner only."""

import errno
import hashlib
import json
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

import numpy as np

from medleak.filters.update import Value


def make_private(folder: Path) -> None:
    """Make ``folder``, and what is missing above it, for the owner only whatever the umask."""
    missing = [p for p in (folder, *folder.parents) if not p.exists()]
    for one in reversed(missing):
        try:
            one.mkdir(mode=0o700)
        except FileExistsError:
            continue  # another process was faster
        one.chmod(0o700)


@contextmanager
def replacing(path: Path, *, wait: bool = True) -> Iterator[Path]:
    """A new file, mode 0600, that takes the place of ``path`` at the end of the block.

    On an error the old content, if any, stays and nothing new is left. When the block is done, the
    content and the name are on the disk, unless ``wait`` is false.
    """
    make_private(path.parent)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(descriptor)  # mkstemp makes it 0600, under a name that nobody else writes to
    part = Path(name)
    try:
        yield part
        part.chmod(0o600)  # a library may have put a file of its own there
        if wait:
            with part.open("rb+") as file:
                os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    if wait and os.name == "posix":  # the new name must be on the disk as well
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


Content = bytes | Sequence[bytes | memoryview]
"""Of a file: in one piece, or in several that follow each other."""


def write(path: Path, data: Content) -> None:
    """Make ``path`` hold ``data``; see :func:`replacing`."""
    with replacing(path) as part, part.open("wb") as file:
        file.writelines([data] if isinstance(data, bytes) else data)


@contextmanager
def open_regular(path: Path) -> Iterator[BufferedReader]:
    """``path`` opened for reading, if it is a plain file: no link, FIFO or device, which never end.

    Raises:
        OSError: It is missing, or anything else than a plain file.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if path.is_symlink():
            raise OSError(error.errno, "it is a link, not a plain file", str(path)) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a plain file", str(path))
    with os.fdopen(descriptor, "rb") as file:
        yield file


def read_bounded(path: Path, limit: int) -> bytes:
    """The content of a plain file of at most ``limit`` bytes.

    Raises:
        OSError: It is missing, larger, or anything else than a plain file.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise OSError(errno.EFBIG, f"it is larger than {limit} bytes", str(path))
        return file.read(size)


def save(path: Path, values: Mapping[str, Value]) -> str:
    """Write ``values`` to ``path`` as safetensors, atomically; return the file's SHA-256."""
    from safetensors.numpy import save_file

    scalars = [n for n, v in values.items() if isinstance(v, np.generic)]
    arrays = {n: np.require(v, requirements="C") for n, v in values.items()}
    with replacing(path) as part:
        save_file(arrays, part, metadata={"names": json.dumps([list(values), scalars])})
        with part.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    return digest


def read(path: Path) -> dict[str, Value]:
    """The values stored at ``path``, in their order, arrays as arrays and scalars as scalars."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        names, scalars = json.loads(file.metadata()["names"])
        arrays = {n: file.get_tensor(n) for n in names}
    return {n: v[()] if n in scalars else v for n, v in arrays.items()}


def is_intact(path: Path, sha256: str) -> bool:
    """Whether there is a plain file at ``path`` with this hash."""
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except OSError:
        return False


def read_if(path: Path, sha256: str) -> dict[str, Value] | None:
    """The values stored at ``path`` if the file has this hash, else None."""
    return read(path) if is_intact(path, sha256) else None


def save_round(folder: Path, round_number: int, values: Mapping[str, Value]) -> None:
    """Keep ``values`` as the state after ``round_number``, and the state of one earlier round.

    Two are enough to repeat a round that a crash interrupted.
    """
    save(folder / f"after_{round_number:06d}.safetensors", values)
    for number, path in sorted(_rounds(folder).items())[:-2]:
        if number != round_number:
            path.unlink(missing_ok=True)
    remove_parts(folder)


def remove_parts(folder: Path) -> None:
    """Remove what processes that were killed while writing left in ``folder``.

    For folders in which one process writes at a time.
    """
    for part in folder.glob(".*.part"):
        part.unlink(missing_ok=True)


def before_round(folder: Path, round_number: int) -> dict[str, Value]:
    """The latest state kept of a round before ``round_number``; empty if there is none."""
    found = _rounds(folder)
    earlier = [number for number in found if number < round_number]
    return read(found[max(earlier)]) if earlier else {}


def _rounds(folder: Path) -> dict[int, Path]:
    matches = ((re.fullmatch(r"after_(\d+)\.safetensors", p.name), p) for p in folder.glob("*"))
    return {int(m[1]): p for m, p in matches if m}
