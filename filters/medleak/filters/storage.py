"""Arrays that a site keeps on its disk between rounds: written whole or not at all, owner-only."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from medleak.filters.update import Value


def save(path: Path, values: Mapping[str, Value]) -> str:
    """Write ``values`` to ``path`` as safetensors, atomically; return the file's SHA-256."""
    from safetensors.numpy import save_file

    scalars = [n for n, v in values.items() if isinstance(v, np.generic)]
    arrays = {n: np.require(v, requirements="C") for n, v in values.items()}
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_suffix(".partial")
    os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
    save_file(arrays, partial, metadata={"names": json.dumps([list(values), scalars])})
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    partial.replace(path)
    return digest


def read(path: Path) -> dict[str, Value]:
    """The values stored at ``path``, in their order, arrays as arrays and scalars as scalars."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        names, scalars = json.loads(file.metadata()["names"])
        arrays = {n: file.get_tensor(n) for n in names}
    return {n: v[()] if n in scalars else v for n, v in arrays.items()}


def read_if(path: Path, sha256: str) -> dict[str, Value] | None:
    """The values stored at ``path`` if the file has this hash, else None."""
    if not path.exists():
        return None
    with path.open("rb") as file:
        intact = hashlib.file_digest(file, "sha256").hexdigest() == sha256
    return read(path) if intact else None


def save_round(folder: Path, round_number: int, values: Mapping[str, Value]) -> None:
    """Keep ``values`` as the state after ``round_number``, and the state of one earlier round.

    Two are enough to repeat a round that a crash interrupted.
    """
    save(folder / f"after_{round_number:06d}.safetensors", values)
    for number, path in sorted(_rounds(folder).items())[:-2]:
        if number != round_number:
            path.unlink()


def before_round(folder: Path, round_number: int) -> dict[str, Value]:
    """The latest state kept of a round before ``round_number``; empty if there is none."""
    found = _rounds(folder)
    earlier = [number for number in found if number < round_number]
    return read(found[max(earlier)]) if earlier else {}


def _rounds(folder: Path) -> dict[int, Path]:
    matches = ((re.fullmatch(r"after_(\d+)\.safetensors", p.name), p) for p in folder.glob("*"))
    return {int(m[1]): p for m, p in matches if m}
