"""How often trials refute a mechanism that is as it says, and one that is not: many of each.

    python tests/benchmarks/canaries.py --runs 300 --bugs 20 --json FILE

DP-SGD: small trainings by the jobs' own code on eight made-up images with canaries, in one round,
guessed from the change of the weights, as ``medleak dp-audit RUN`` does. Clip + noise: releases of
two neighbouring updates through the very filter, as ``medleak dp-audit DEFENCE`` does. What is as
it says must be refuted in at most 5 % of runs. ``half`` is the share of runs whose bound reaches
half of the claimed ε. FILE is gone on with where it exists, so that ``--seconds`` can cut the whole
into parts.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from promises.bugs import FILTER, TRAINING, planted
from promises.trying import by_releases, with_canaries

AS_IT_SAYS = "as it says"


def main() -> int:
    """Run what is left; exit code 1 if an honest mechanism is refuted too often."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=int, default=300, help="of each mechanism as it says")
    parser.add_argument("--bugs", type=int, default=20, help="runs of each bug")
    parser.add_argument("--count", type=int, default=10_000, help="canaries a run")
    parser.add_argument("--releases", type=int, default=400, help="of each of two updates a run")
    parser.add_argument("--only", default="", help="mechanisms whose name begins so")
    parser.add_argument("--seconds", type=float, help="of CPU, after which no run is begun")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    path = arguments.json
    runs: dict[str, list[dict[str, Any]]] = {}
    if path is not None and path.exists():
        runs = json.loads(path.read_text())["runs"]
    for name, (patch, run) in _mechanisms(arguments).items():
        if not name.startswith(arguments.only):
            continue
        done = runs.setdefault(name, [])
        wanted = arguments.runs if name.endswith(AS_IT_SAYS) else arguments.bugs
        with planted(patch):
            while len(done) < wanted and not _late(arguments.seconds):
                done.append(run())
        if done:
            print(name, _counts(done), flush=True)
        if path is not None:
            table = {n: _counts(of) for n, of in runs.items() if of}
            path.write_text(json.dumps({"table": table, "runs": runs}, indent=1))
    return int(any(_too_often(runs[n]) for n in runs if n.endswith(AS_IT_SAYS) and runs[n]))


def _mechanisms(arguments: argparse.Namespace) -> dict[str, tuple[Any, Callable[[], Any]]]:
    planting = partial(with_canaries, arguments.count)
    found: dict[str, tuple[Any, Callable[[], Any]]] = {}
    for name, patch in TRAINING.items():
        found[f"dp_sgd, {name}"] = patch, planting
    for name, patch in FILTER.items():
        ignored = name == "δ ignored"
        sending = partial(by_releases, arguments.releases, ignore_delta=ignored)
        found[f"clip + noise, {name}"] = patch, sending
    return found


def _late(seconds: float | None) -> bool:
    return seconds is not None and time.process_time() > seconds


def _too_often(found: list[dict[str, Any]]) -> bool:
    n, refuted = len(found), sum(f["refuted"] for f in found)
    return refuted > 0.05 * n + 3 * (0.0475 * n) ** 0.5


def _counts(found: list[dict[str, Any]]) -> dict[str, Any]:
    claimed = found[0]["claimed"]
    told: dict[str, Any] = {
        "runs": len(found),
        "refuted": sum(bool(f["refuted"]) for f in found),
        "claimed": round(claimed, 3),
    }
    for what in ("bound", "scaled"):
        if what in found[0]:
            values = np.array([f[what] for f in found])
            told |= {
                f"{what}_above_claimed": int((values > claimed).sum()),
                f"{what}_mean": round(float(values.mean()), 3),
                f"{what}_max": round(float(values.max()), 3),
                f"{what}_half": round(float((values >= claimed / 2).mean()), 3),
            }
    if "right" in found[0]:
        told |= {k: found[0][k] for k in ("guessed", "needed")}
        told["right_mean"] = round(float(np.mean([f["right"] for f in found])), 1)
    else:
        told |= {"releases": found[0]["releases"], "by": sorted({f["by"] for f in found})}
    return told


if __name__ == "__main__":
    sys.exit(main())
