"""A function run on arrays in a process of its own, which can be stopped.

``medleak.filters`` must not import attacks (a site that only adds noise needs neither torch nor
them), so the function is named as ``"module:function"`` and imported by the child process alone,
which also bounds its time: a thread inside a training process could not be stopped. What it is
given lies in a folder that its owner alone can read, and is gone afterwards.
"""

import importlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medleak.filters import storage
from medleak.filters.update import Update, UpdateError


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """How errors speak of a function: ``it`` ran ("The attack of the leakage gate"), what ``names``
    it ("The leakage gate's measure"), and how to make it ``quicker``.
    """

    it: str
    names: str
    quicker: str


def check_name(measure: object) -> None:
    """Raise ValueError unless ``measure`` is ``"module:function"``."""
    module, colon, name = str(measure).partition(":")
    if not (isinstance(measure, str) and module and colon and name):
        raise ValueError(f"measure must be 'module:function', got {measure!r}.")


def answer_of(
    measure: str,
    arrays: Sequence[Update],
    args: Mapping[str, Any],
    *,
    time_limit: float,
    allowed: Sequence[str],
    named: Named,
) -> object:
    """What ``measure(*arrays, **args)`` answers, of copies, in at most ``time_limit`` seconds.

    Args:
        measure: ``"module:function"``; its answer must be fit for JSON.
        arrays: Arrays by name, each of them an argument.
        args: Further arguments, fit for JSON.
        time_limit: Seconds.
        allowed: Names that may be imported; no other is.
        named: See `Named`.

    Raises:
        UpdateError: It is not allowed, took too long, failed, or gave no answer.
    """
    if measure not in allowed:
        raise UpdateError(
            f"{named.names} {measure!r} is none of ours, and the site does not name it: it was "
            "not imported. Name it in the site's own privacy.json."
        )
    with tempfile.TemporaryDirectory(prefix="medleak_apart_") as name:  # its owner's only
        folder = Path(name)
        for k, each in enumerate(arrays):
            storage.save(folder / f"{k}.safetensors", each)
        request = {"measure": measure, "args": dict(args), "arrays": len(arrays)}
        (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
        command = [sys.executable, "-m", "medleak.filters.apart.process", name]
        try:
            run = subprocess.run(
                command, capture_output=True, text=True, timeout=time_limit, check=False
            )
        except subprocess.TimeoutExpired as e:
            raise UpdateError(
                f"{named.it} did not end in {time_limit:g} s, so nothing is known. Raise "
                f"time_limit, or {named.quicker}."
            ) from e
        if run.returncode != 0:
            last = (run.stderr.strip().splitlines() or ["no message"])[-1]
            raise UpdateError(f"{named.it} failed ({last}). See its settings.")
        try:
            return json.loads((folder / "answer.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as e:
            raise UpdateError(f"{named.it} ended and gave no answer. See its settings.") from e


def _child(folder: Path) -> None:
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    module, _, name = request["measure"].partition(":")
    measure = getattr(importlib.import_module(module), name)
    arrays = [storage.read(folder / f"{k}.safetensors") for k in range(request["arrays"])]
    answer = measure(*arrays, **request["args"])
    (folder / "answer.json").write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    _child(Path(sys.argv[1]))
