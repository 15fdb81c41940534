"""The leakage gate: invert an update before sending it, in a process that can be stopped.

``medleak.filters`` must not import the attacks (a site that only adds noise needs neither torch nor
them), so the measure is named as ``"module:function"`` and imported by the child process alone,
which also bounds its time: a thread inside a training process could not be stopped.

A measure is called as ``measure(update, global_state, **args)`` with arrays by name and returns
``{"rdlv": float, "healthy": bool}`` and whatever else it wants to have logged: the worst relative
data leakage value (arXiv:2202.06924v2, eq. 6) over the site's own images, best an upper bound, and
whether the attack passed its own health check. An attack that failed proves nothing.
"""

import importlib
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medleak.filters import storage
from medleak.filters.update import Update, UpdateError

MEASURES = ("medleak.inversion.gate:measure",)
"""Measures that a job may name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leakage:
    """What a measure found: the worst RDLV, whether the attack was healthy, and details."""

    rdlv: float
    healthy: bool
    details: Mapping[str, Any]


def measure_leakage(
    measure: str,
    update: Update,
    global_state: Update,
    args: Mapping[str, Any],
    *,
    time_limit: float,
    allowed: Sequence[str] = (),
) -> Leakage:
    """Run ``measure`` on copies in a child process, for at most ``time_limit`` seconds.

    Its module is imported there only if ``measure`` is ours (:data:`MEASURES`) or in ``allowed``,
    which the site's operator vouches for: a job could name any code.

    Raises:
        UpdateError: It took too long, failed, or answered with something else. The caller must
            then keep the update at home.
    """
    if measure not in (*MEASURES, *allowed):
        raise UpdateError(
            f"The leakage gate's measure {measure!r} is none of ours, and the site does not name "
            "it: it was not imported. Name it in the site's own privacy.json."
        )
    with tempfile.TemporaryDirectory(prefix="medleak_gate_") as name:  # readable by its owner only
        folder = Path(name)
        storage.save(folder / "update.safetensors", update)
        storage.save(folder / "global.safetensors", global_state)
        request = {"measure": measure, "args": dict(args)}
        (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
        command = [sys.executable, "-m", "medleak.filters.leakage_gate", name]
        try:
            run = subprocess.run(
                command, capture_output=True, text=True, timeout=time_limit, check=False
            )
        except subprocess.TimeoutExpired as e:
            raise UpdateError(
                f"The attack of the leakage gate did not end in {time_limit:g} s, so nothing is "
                "known about this update. Raise time_limit, or give the attack fewer iterations."
            ) from e
        if run.returncode != 0:
            last = (run.stderr.strip().splitlines() or ["no message"])[-1]
            raise UpdateError(f"The attack of the leakage gate failed ({last}). See its settings.")
        return _answer(json.loads((folder / "answer.json").read_text(encoding="utf-8")))


def check_leakage(found: Leakage, threshold: float) -> None:
    """Raise :class:`UpdateError` unless ``found`` is healthy and its RDLV at most ``threshold``."""
    if not found.healthy:
        raise UpdateError(
            "The attack of the leakage gate did not pass its own health check, so its failure to "
            "reconstruct proves nothing. Give it more iterations, or check its settings."
        )
    if not found.rdlv <= threshold:
        raise UpdateError(
            "The attack of the leakage gate reconstructs a training image from this update better "
            f"than the threshold of {threshold:g} allows. Add noise or withhold statistics before "
            "the gate, or train on more images."
        )


def _answer(raw: object) -> Leakage:
    details = dict(raw) if isinstance(raw, dict) else {}
    rdlv, healthy = details.pop("rdlv", None), details.pop("healthy", None)
    if not isinstance(rdlv, int | float) or math.isnan(rdlv) or not isinstance(healthy, bool):
        raise UpdateError(
            f"The measure of the leakage gate answered {raw!r}; it must give rdlv (a number) and "
            "healthy (true or false)."
        )
    return Leakage(rdlv=float(rdlv), healthy=healthy, details=details)


def _child(folder: Path) -> None:
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    module, _, name = request["measure"].partition(":")
    measure = getattr(importlib.import_module(module), name)
    update = storage.read(folder / "update.safetensors")
    state = storage.read(folder / "global.safetensors")
    answer = measure(update, state, **request["args"])
    (folder / "answer.json").write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    _child(Path(sys.argv[1]))
