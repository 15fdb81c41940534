"""The files of a record: names, whole writes, bounded reads, hashes.

Names and contents may come from a stranger: nothing is used before it is checked.
"""

import contextlib
import errno
import hashlib
import json
import os
import re
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError

from medleak.custom.atomic import write_atomic
from medleak.custom.record.compression import SUFFIX, decompress, stored_place
from medleak.custom.record.tensors import RecordError, of_bytes
from medleak.filters import storage

_Model = TypeVar("_Model", bound=BaseModel)

SITE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_ROUND_DIGITS = 9
_SIDECAR_LIMIT = 1_000_000  # bytes; a sidecar of ours has about 1,000
_MANIFEST_LIMIT = 16_000_000  # what was left out of a long job takes the most
_HEADER_LIMIT = 16_000_000
TENSORS_LIMIT = 4_000_000_000  # bytes of a model: a thousand million weights in float32


def check_site(site: str) -> str:
    """Return ``site`` if it can be a file name on any system.

    Raises:
        RecordError: It cannot, or it is ``global``, which is the model's own name.
    """
    if not isinstance(site, str) or not SITE_NAME.fullmatch(site) or site.lower() == "global":
        raise RecordError(
            f"Site name {str(site)[:80]!r} is not usable: it becomes a file name, so it must be "
            "1 to 63 letters, digits, '.', '_' or '-', begin with a letter or digit, and not be "
            "'global'."
        )
    return site


def paths(folder: Path, site: str) -> tuple[Path, Path]:
    """The tensors and the sidecar of ``site`` in a round's folder, after `check_site`."""
    check_site(site)
    return folder / f"{site}.safetensors", folder / f"{site}.json"


def round_dir(root: Path, round: int) -> Path:
    """The folder of ``round``, made if missing."""
    folder = root / f"round_{round:04d}"
    make_folder(folder)
    return folder


def round_of(name: str) -> int | None:
    """The round whose folder is called ``name``; None if it is no round's.

    One round has one name: under two, the files of one folder would be taken for the other's.
    """
    digits = name.removeprefix("round_")
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= _ROUND_DIGITS):
        return None
    return int(digits) if name == f"round_{int(digits):04d}" else None


def beside_of(folder: Path, site: str) -> Path:
    """Where tensors are that ``site`` sent beside its update, such as SCAFFOLD's."""
    return folder / "beside" / f"{check_site(site)}.safetensors"


def other_model(folder: Path, digest: str) -> Path:
    """Where a model of a round beside its first one is."""
    if not re.fullmatch("[0-9a-f]{64}", digest):  # from a file: it must not become another path
        return folder / "global.safetensors"
    return folder / "models" / f"{digest}.safetensors"


def make_folder(folder: Path) -> None:
    """Make ``folder``, for its owner only, if it is missing."""
    with _disk_errors(folder):
        storage.make_private(folder)


def as_json(model: BaseModel) -> bytes:
    """``model`` as the text of its file."""
    return (model.model_dump_json(indent=2, by_alias=True) + "\n").encode()


@contextlib.contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            why = (
                "no space left on the disk. Free some, keep fewer rounds or sites, or set a budget."
            )
        else:
            why = f"{error.strerror or error}. Check the path and who may write to it."
        raise RecordError(f"Cannot write {path}: {why}") from error


def write(path: Path, data: storage.Content) -> None:
    """Write ``data`` whole or not at all; a RecordError where the disk refuses it."""
    with _disk_errors(path):
        write_atomic(path, data)


@contextlib.contextmanager
def _opened(path: Path, root: Path) -> Iterator[BufferedReader]:
    """A plain file of the record at ``root``; a RecordError for anything else at its place."""
    try:
        inside = path.parent.resolve().is_relative_to(root.resolve())
        if not inside or (path.parent != root and path.parent.is_symlink()):
            raise RecordError(
                f"{path} lies behind a link out of its folder: a record is files of its own, and "
                "what a stranger's link points to is not read. Copy the files themselves."
            )
        with storage.open_regular(path) as file:
            yield file
    except (OSError, RuntimeError) as error:  # RuntimeError: a circle of links
        if isinstance(error, FileNotFoundError) and path.suffix == ".json":
            raise RecordError(f"{path} is missing: the record is incomplete. Restore it.") from None
        why = getattr(error, "strerror", None) or error
        raise RecordError(f"{path} cannot be read ({why}). Restore it.") from None


def read_json(path: Path, root: Path | None = None) -> dict[str, Any]:
    """The JSON object in a file of the record at ``root``; a RecordError where it is none."""
    root = root or path.parent
    limit = _MANIFEST_LIMIT if path.name == "manifest.json" else _SIDECAR_LIMIT
    with _opened(path, root) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise RecordError(
                f"{path} cannot be read as JSON (it is larger than {limit} bytes). Restore it."
            )
        data = file.read(size)
    try:
        text = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{path} cannot be read as JSON ({error}). Restore it.") from None
    if not isinstance(text, dict):
        raise RecordError(f"{path} holds no JSON object. Restore it.")
    return text


def parse(kind: type[_Model], text: dict[str, Any], path: Path) -> _Model:
    """``text`` as a ``kind``; a RecordError that names the first wrong field of ``path``."""
    try:
        return kind.model_validate(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RecordError(f"{path}: field {where!r}: {first['msg']}. Restore it.") from None


def read_tensors(
    path: Path, digest: str, root: Path | None = None, *, limit: int = TENSORS_LIMIT
) -> dict[str, np.ndarray]:
    """The tensors of a file with this SHA-256, by name; a RecordError where it has another.

    Nothing is held in memory before the file's own header says that it is small enough: at most
    ``limit`` bytes, and exactly as many as its tensors take. Where the file is compressed, the hash
    is of its content.
    """
    data = plain_bytes(path, digest, root or path.parent, limit)
    try:
        return of_bytes(data)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError(f"{path} is not a safetensors file ({error}).") from None


def plain_bytes(path: Path, digest: str, root: Path, limit: int = TENSORS_LIMIT) -> bytes:
    """The safetensors file with this SHA-256, decompressed; a RecordError where it has another."""
    data, path = _content(path, root, limit)
    if hashlib.sha256(data).hexdigest() != digest:
        raise RecordError(
            f"{path} does not have the SHA-256 that was recorded with it: it was changed or "
            "damaged after recording, so nothing said from it would hold. Restore it."
        )
    return data


def digest_of_content(path: Path) -> str:
    """SHA-256 of the safetensors file that stands at ``path``, decompressed where it is compressed.

    Raises:
        RecordError: It is damaged.
    """
    if path.suffix != SUFFIX:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return hashlib.sha256(_content(path, path.parent.parent, TENSORS_LIMIT)[0]).hexdigest()


def _content(path: Path, root: Path, limit: int) -> tuple[bytes, Path]:
    """The bytes of a safetensors file, decompressed where it is compressed, and which it was."""
    path = stored_place(path)
    with _opened(path, root) as file:
        if path.suffix != SUFFIX:
            return file.read(_checked_size(path, file, limit)), path
        size = os.fstat(file.fileno()).st_size
        most = limit + _HEADER_LIMIT + 8
        if size > most + most // 100 + 1000:  # of what cannot be compressed, a little is added
            raise RecordError(
                f"{path} has {size} bytes, more than the model of this record can have. Restore it."
            )
        data = decompress(path, file.read(size), most)
        _check_header(path, data[:8], len(data), limit)
        return data, path


def _checked_size(path: Path, file: BufferedReader, limit: int) -> int:
    size = os.fstat(file.fileno()).st_size
    _check_header(path, file.read(8), size, limit)
    file.seek(0)
    return size


def _check_header(path: Path, first: bytes, size: int, limit: int) -> None:
    length = int.from_bytes(first, "little")
    if not 2 <= length <= min(_HEADER_LIMIT, size - 8):
        raise RecordError(
            f"{path} is not a safetensors file: its header would take {length} of {size} bytes, or "
            "it does not have the SHA-256 that was recorded with it. Restore it."
        )
    if size - 8 - length > limit:
        raise RecordError(
            f"{path} holds {size - 8 - length} bytes of tensors, more than {limit}, which is all "
            "that the model of this record can have. Restore it."
        )
