"""The record of a federated run: what the server saw, on disk, without pickle.

One directory a run (format version 1)::

    manifest.json                 the job, the network, the task, the input
    round_0003/global.safetensors the model sent in this round, buffers included
    round_0003/site-9.safetensors the update as received: local - global
    round_0003/site-9.json        how the site says it trained, and the hashes

Every file appears whole or not at all, and the ``.json`` of an update is written last: an
update is in the record when, and only when, its ``.json`` is. Anyone can write a record from
another framework with :func:`write_manifest` and :func:`write_record`; an audit reads nothing
else. Names come from the network and are checked before they touch a path.
"""

import contextlib
import errno
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from medleak.custom.atomic import write_atomic
from medleak.custom.schema import (
    FORMAT_VERSION,
    Hashes,
    InputSpec,
    LeftOut,
    Manifest,
    ModelSpec,
    TaskSpec,
    UpdateInfo,
    utc_now,
)

__all__ = [
    "FORMAT_VERSION",
    "Hashes",
    "InputSpec",
    "LeftOut",
    "Manifest",
    "ModelSpec",
    "Record",
    "RecordError",
    "TaskSpec",
    "UpdateInfo",
    "check_site",
    "find_records",
    "list_updates",
    "natural_key",
    "read_info",
    "read_manifest",
    "read_record",
    "utc_now",
    "verify",
    "write_global",
    "write_manifest",
    "write_record",
    "write_update",
]

State = Mapping[str, np.ndarray]
_Model = TypeVar("_Model", bound=BaseModel)

_SITE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_ROUND = re.compile(r"round_(\d{4,9})")
_SIDECAR_LIMIT = 1_000_000  # bytes; a sidecar of ours has about 1,000


class RecordError(ValueError):
    """A record that cannot be written or must not be trusted; the message names it."""


@dataclass(frozen=True, slots=True)
class Record:
    """One update with its context; arrays are keyed as in the network's ``state_dict()``."""

    manifest: Manifest
    info: UpdateInfo
    global_state: dict[str, np.ndarray]
    update: dict[str, np.ndarray]


def write_manifest(root: Path, manifest: Manifest) -> None:
    """Write ``manifest`` to ``root`` (made if missing), replacing an older one.

    Raises:
        RecordError: The disk refuses it.
    """
    _write(Path(root) / "manifest.json", _json(manifest))


def write_global(root: Path, round: int, state: State) -> str:
    """Write the model that was sent in ``round``, once; return its SHA-256.

    Raises:
        RecordError: Another model is recorded for this round, or the disk refuses it.
    """
    path = _round_dir(Path(root), round) / "global.safetensors"
    data = save_tensors(_contiguous(state))
    digest = hashlib.sha256(data).hexdigest()
    if not path.exists():
        _write(path, data)
    elif hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        raise RecordError(
            f"{path} holds another model than the one to be recorded: all sites of a round must "
            "start from one model. Record runs in directories of their own."
        )
    return digest


def write_update(root: Path, info: UpdateInfo, global_digest: str, update: State) -> UpdateInfo:
    """Write one update whose global model is recorded already; return its completed info.

    Raises:
        RecordError: The site's name cannot be a file name, the update is recorded already,
            or the disk refuses it. Nothing of the update is left behind.
    """
    folder = _round_dir(Path(root), info.round)
    tensors, sidecar = _paths(folder, info.site)
    if sidecar.exists():
        raise RecordError(
            f"{sidecar} exists: a site has one update a round. Record runs in directories of "
            "their own."
        )
    data = save_tensors(_contiguous(update))
    hashes = Hashes.model_validate(
        {"global": global_digest, "update": hashlib.sha256(data).hexdigest()}
    )
    info = info.model_copy(update={"sha256": hashes})
    try:
        _write(tensors, data)
        _write(sidecar, _json(info))
    except RecordError:
        tensors.unlink(missing_ok=True)
        raise
    return info


def write_record(root: Path, info: UpdateInfo, global_state: State, update: State) -> UpdateInfo:
    """Write one update and, if it is the first of its round, the model that was sent.

    Args:
        root: Directory of the record; see :func:`write_manifest`.
        info: Round, site and schedule; ``sha256`` is filled in here.
        global_state: The network's ``state_dict()`` as sent, buffers included.
        update: local - global, keyed as ``global_state``; withheld tensors are absent.

    Returns:
        ``info`` with its hashes.

    Raises:
        RecordError: See :func:`write_global` and :func:`write_update`; also for an update that
            does not fit ``global_state``.
    """
    _check_update(f"round {info.round}, site {info.site}", global_state, update)
    return write_update(root, info, write_global(root, info.round, global_state), update)


def find_records(run: Path) -> Path:
    """The records directory of ``run``: itself, a job's run directory, or a simulator workspace.

    Raises:
        RecordError: There is none, or more than one.
    """
    run = Path(run)
    if (run / "manifest.json").is_file():
        return run
    found = sorted({m.parent for m in run.glob("**/records/manifest.json")})
    if len(found) == 1:
        return found[0]
    if not found:
        raise RecordError(
            f"No record in {run}: neither it nor a records/ folder below it holds a manifest.json. "
            "Name a run of a job with the recorder (the simulator's workspace, say)."
        )
    raise RecordError(
        f"{run} holds {len(found)} records: name one of {', '.join(map(str, found))}."
    )


def read_manifest(root: Path) -> Manifest:
    """The manifest of the record at ``root``.

    Raises:
        RecordError: It is missing, of another version, or malformed.
    """
    path = Path(root) / "manifest.json"
    text = _read_json(path)
    version = text.get("format_version")
    if version != FORMAT_VERSION:
        raise RecordError(
            f"{path} has format version {version!r}; this medleak reads {FORMAT_VERSION}. "
            "Use the medleak that wrote it."
        )
    return _parse(Manifest, text, path)


def list_updates(root: Path) -> list[tuple[int, str]]:
    """All recorded (round, site), in order of round and then of site (site-2 before site-10)."""
    found = [
        (int(match[1]), sidecar.stem)
        for folder in Path(root).glob("round_*")
        if (match := _ROUND.fullmatch(folder.name))
        for sidecar in folder.glob("*.json")
        if _SITE.fullmatch(sidecar.stem)
    ]
    return sorted(found, key=lambda key: (key[0], natural_key(key[1])))


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key under which site-2 comes before site-10."""
    parts = re.findall(r"\d+|\D+", name)
    return [(0, int(p), p) if p.isdecimal() else (1, 0, p) for p in parts]


def read_info(root: Path, round: int, site: str) -> UpdateInfo:
    """What ``site`` declared in ``round``, without its tensors.

    Raises:
        RecordError: It is not recorded, or malformed.
    """
    _, sidecar = _paths(Path(root) / f"round_{round:04d}", site)
    if not sidecar.is_file():
        raise RecordError(_not_recorded(Path(root), round, site))
    info = _parse(UpdateInfo, _read_json(sidecar), sidecar)
    if (info.round, info.site) != (round, site) or info.sha256 is None:
        raise RecordError(
            f"{sidecar} speaks of round {info.round}, site {info.site}, or lacks its hashes: "
            "it was moved or edited. Restore it."
        )
    return info


def read_record(root: Path, round: int, site: str) -> Record:
    """Read one update and check it.

    Raises:
        RecordError: Not recorded; another version; a file that does not have the hash that was
            written with it; an update that does not fit the model by name or shape; NaN or inf.
    """
    root = Path(root)
    manifest = read_manifest(root)
    info = read_info(root, round, site)
    assert info.sha256 is not None  # read_info refuses a sidecar without hashes
    folder = root / f"round_{round:04d}"
    global_state = _read_tensors(folder / "global.safetensors", info.sha256.sent)
    update = _read_tensors(folder / f"{site}.safetensors", info.sha256.update)
    _check_update(f"{folder / site}.safetensors", global_state, update)
    return Record(manifest, info, global_state, update)


def verify(root: Path) -> Iterator[tuple[int, str, str | None]]:
    """Read every update; yield (round, site, None or what is wrong with it)."""
    for round, site in list_updates(root):
        try:
            read_record(root, round, site)
        except RecordError as error:
            yield round, site, str(error)
        else:
            yield round, site, None


def check_site(site: str) -> str:
    """Return ``site`` if it can be a file name on any system.

    Raises:
        RecordError: It cannot, or it is ``global``, which is the model's own name.
    """
    if not isinstance(site, str) or not _SITE.fullmatch(site) or site.lower() == "global":
        raise RecordError(
            f"Site name {str(site)[:80]!r} is not usable: it becomes a file name, so it must be "
            "1 to 63 letters, digits, '.', '_' or '-', begin with a letter or digit, and not be "
            "'global'."
        )
    return site


def _paths(folder: Path, site: str) -> tuple[Path, Path]:
    check_site(site)
    return folder / f"{site}.safetensors", folder / f"{site}.json"


def _round_dir(root: Path, round: int) -> Path:
    folder = root / f"round_{round:04d}"
    with _disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _contiguous(state: State) -> dict[str, np.ndarray]:
    """Arrays as safetensors wants them: numpy scalars become 0-d arrays, strides are dropped."""
    return {name: np.ascontiguousarray(v).reshape(np.shape(v)) for name, v in state.items()}


def _json(model: BaseModel) -> bytes:
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


def _write(path: Path, data: bytes) -> None:
    with _disk_errors(path):
        write_atomic(path, data)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(_SIDECAR_LIMIT * (100 if path.name == "manifest.json" else 1) + 1)
        text = json.loads(data)
    except FileNotFoundError:
        raise RecordError(f"{path} is missing: the record is incomplete. Restore it.") from None
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} cannot be read as JSON ({error}). Restore it.") from None
    if not isinstance(text, dict):
        raise RecordError(f"{path} holds no JSON object. Restore it.")
    return text


def _parse(kind: type[_Model], text: dict[str, Any], path: Path) -> _Model:
    try:
        return kind.model_validate(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RecordError(f"{path}: field {where!r}: {first['msg']}. Restore it.") from None


def _read_tensors(path: Path, digest: str) -> dict[str, np.ndarray]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RecordError(f"{path} cannot be read ({error.strerror}). Restore it.") from None
    if hashlib.sha256(data).hexdigest() != digest:
        raise RecordError(
            f"{path} does not have the SHA-256 that was recorded with it: it was changed or "
            "damaged after recording, so nothing said from it would hold. Restore it."
        )
    try:
        tensors = load_tensors(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise RecordError(f"{path} is not a safetensors file ({error}).") from None
    # safetensors gives them in no fixed order, which seeded noise must not depend on.
    return {name: tensors[name] for name in sorted(tensors)}


def _check_update(name: str, global_state: State, update: State) -> None:
    if not update:
        raise RecordError(f"{name}: the update is empty. The site sent nothing to audit.")
    unknown = sorted(set(update) - set(global_state))
    if unknown:
        raise RecordError(
            f"{name}: {unknown[0]!r} ({len(unknown)} in all) is not in the model that was sent: "
            "update and model do not belong together."
        )
    for key, value in update.items():
        if np.shape(value) != np.shape(global_state[key]):
            raise RecordError(
                f"{name}: {key!r} has shape {np.shape(value)}, in the model "
                f"{np.shape(global_state[key])}: update and model do not belong together."
            )
    for what, state in (("model", global_state), ("update", update)):
        bad = [k for k, v in state.items() if not np.isfinite(v).all()]
        if bad:
            raise RecordError(
                f"{name}: the {what} holds NaN or inf in {bad[0]!r} ({len(bad)} tensors in all): "
                "training diverged there; no attack can be judged on it."
            )


def _not_recorded(root: Path, round: int, site: str) -> str:
    updates = list_updates(root)
    rounds = sorted({r for r, _ in updates})
    if round not in rounds:
        span = ", ".join(map(str, rounds)) or "none"
        return f"Round {round} is not recorded in {root}. Recorded rounds: {span}."
    sites = ", ".join(s for r, s in updates if r == round) or "none"
    return f"Site {site!r} is not recorded in round {round} of {root}. Recorded there: {sites}."
