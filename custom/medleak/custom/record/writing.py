"""Write a record: a manifest, the models that were sent, the updates that came."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from medleak.custom.record import compression
from medleak.custom.record.files import (
    as_json,
    beside_of,
    check_site,
    digest_of_content,
    make_folder,
    other_model,
    paths,
    round_dir,
    write,
)
from medleak.custom.record.schema import Hashes, Manifest, UpdateInfo
from medleak.custom.record.tensors import RecordError, State, as_arrays, check_update, chunks_of


def write_manifest(root: Path, manifest: Manifest) -> None:
    """Write ``manifest`` to ``root`` (made if missing), replacing an older one.

    Raises:
        RecordError: The disk refuses it.
    """
    write(Path(root) / "manifest.json", as_json(manifest))


def extended(root: Path, manifest: Manifest, said: Manifest) -> Manifest:
    """The ``manifest`` of ``root`` with what ``said`` adds of network, loss and images.

    Raises:
        RecordError: It says otherwise, which holds for the updates that are there already.
    """
    new = {f: v for f in ("model", "task", "input") if (v := getattr(said, f)) is not None}
    for field, value in new.items():
        there = getattr(manifest, field)
        # As files hold them: there a tuple is a list.
        old = {} if there is None else there.model_dump(mode="json", exclude_none=True)
        now = value.model_dump(mode="json", exclude_none=True)
        if differ := [k for k in old if now.get(k, old[k]) != old[k]]:
            raise RecordError(
                f"{root} says of all its updates that {field}.{differ[0]} is {old[differ[0]]!r}, "
                f"and now {now[differ[0]]!r} is said: it would be changed for updates that are "
                "there already. Record to a directory of its own."
            )
        new[field] = type(value).model_validate(old | now)
    added = {f: v for f, v in new.items() if v != getattr(manifest, f)}
    sources = manifest.sources | {field: said.sources[field] for field in added}
    return manifest.model_copy(update={**added, "sources": sources})


def write_global(
    root: Path, round: int, state: State, *, several: bool = False, compress: bool = False
) -> str:
    """Write the model that was sent in ``round``, once; return its SHA-256.

    With ``several``, a round may have models beside the first: of sites that pass one on (cyclic
    training) or have their own. They stand under their hash, and an update names its own. With
    ``compress`` the file is compressed without loss (`medleak.custom.record.compression`).

    Raises:
        RecordError: Another model is recorded for this round, a tensor is none of a record (see
            `medleak.custom.record.tensors.as_arrays`), or the disk refuses it.
    """
    where = f"The model of round {round}"
    data = chunks_of(as_arrays(where, state))
    path = round_dir(Path(root), round) / "global.safetensors"
    digest = _digest(data)
    if not (there := compression.stored_place(path)).exists():
        _write_tensors(path, data, compress)
    elif digest_of_content(there) != digest:
        if several:
            other = other_model(path.parent, digest)
            make_folder(other.parent)
            _write_tensors(other, data, compress)
            return digest
        raise RecordError(
            f"{path} holds another model than the one to be recorded: all sites of a round must "
            "start from one model. Record runs in directories of their own."
        )
    return digest


def write_update(
    root: Path,
    info: UpdateInfo,
    global_digest: str,
    update: State,
    *,
    beside: Mapping[str, State] | None = None,
    compress: bool = False,
) -> UpdateInfo:
    """Write one update whose global model is recorded already; return its completed info.

    ``beside`` are further sets of tensors that the site sent, each under its own name, such as
    ``scaffold_c_diff``; an audit attacks the update alone. ``compress``: see `write_global`.

    Raises:
        RecordError: The site's name cannot be a file name, a tensor is none of a record, the
            update is recorded already, or the disk refuses it. Nothing of the update is left
            behind.
    """
    where = f"Round {info.round}, site {check_site(info.site)}"
    data = chunks_of(as_arrays(where, update))
    _require_new(root, info)
    tensors, sidecar = paths(round_dir(Path(root), info.round), info.site)
    digests = {"global": global_digest, "update": _digest(data)}
    files = {tensors: data}
    if beside:
        sets = {f"{kind}/{name}": v for kind, made in beside.items() for name, v in made.items()}
        more = chunks_of(as_arrays(where, sets))
        files[beside_of(tensors.parent, info.site)] = more
        digests["beside"] = _digest(more)
    info = info.model_copy(update={"sha256": Hashes.model_validate(digests)})
    try:
        for path, content in files.items():
            make_folder(path.parent)
            _write_tensors(path, content, compress)
        write(sidecar, as_json(info))
    except RecordError:
        for path in files:
            compression.stored_place(path).unlink(missing_ok=True)
        raise
    return info


def _digest(chunks: Sequence[bytes | memoryview]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def _write_tensors(path: Path, data: Sequence[bytes | memoryview], compress: bool) -> None:
    if compress:
        write(compression.compressed_place(path), compression.compress(data))
    else:
        write(path, data)


def _require_new(root: Path, info: UpdateInfo) -> None:
    """Refuse a second update of a site in a round, before a file of it is written."""
    _, sidecar = paths(Path(root) / f"round_{info.round:04d}", info.site)
    if sidecar.exists():
        raise RecordError(
            f"{sidecar} exists: a site has one update a round. Record runs in directories of "
            "their own."
        )


def write_record(
    root: Path,
    info: UpdateInfo,
    global_state: State,
    update: State,
    *,
    several: bool = False,
    compress: bool = False,
) -> UpdateInfo:
    """Write one update and, if it is the first of its round, the model that was sent.

    Args:
        root: Directory of the record; see :func:`write_manifest`.
        info: Round, site and schedule; ``sha256`` is filled in here.
        global_state: The network's ``state_dict()`` as sent, buffers included; arrays of numpy or
            tensors of torch. bfloat16 is kept as float32, which holds it exactly.
        update: local - global, keyed as ``global_state``; withheld tensors are absent.
        several: Whether the round may have other models beside this one (`write_global`).
        compress: Whether tensors are compressed without loss (`write_global`).

    Returns:
        ``info`` with its hashes.

    Raises:
        RecordError: See :func:`write_global` and :func:`write_update`; also for an update that
            does not fit ``global_state``.
    """
    where = f"Round {info.round}, site {check_site(info.site)}"
    sent = as_arrays(f"The model of round {info.round}", global_state)
    update = as_arrays(where, update)
    check_update(where, sent, update)
    _require_new(root, info)
    digest = write_global(root, info.round, sent, several=several, compress=compress)
    return write_update(root, info, digest, update, compress=compress)
