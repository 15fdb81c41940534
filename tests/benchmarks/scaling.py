"""How an audit's time falls with the workers of a cluster, by simulation from a measured trace.

The trace is a ``results.csv`` of an audit that was really done: the seconds of each of its cases.
The rest is measured here or given: what the command itself spends on a case (it alone measures and
writes results, so it serves one worker at a time), how many bytes go each way, and what a worker
needs to start. The model, and what it leaves out, is in docs/how-to/cluster.md.

    python tests/benchmarks/scaling.py AUDIT [--keep 0.05] [--cases 10000] [--json FILE]
"""

import argparse
import csv
import heapq
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

WORKERS = (1, 2, 16, 64, 128, 256)


@dataclass(frozen=True, kw_only=True)
class Model:
    """What a case costs beside the attack.

    Attributes:
        keep: Seconds of the command for a case: measuring, pictures, the journal's line on disk.
        start: Seconds until a worker can take its first case, most of them imports.
        read_bytes: That a worker reads for a case: a model and an update.
        result_bytes: That it sends back.
        storage: Bytes a second that the shared storage gives to all workers together.
        network: Bytes a second that the command's machine takes in.
        dispatch: Seconds from an order to its begin, and from an end to its news.
    """

    keep: float
    start: float = 15.0
    read_bytes: float = 60e6
    result_bytes: float = 1e5
    storage: float = 1e9
    network: float = 1e8
    dispatch: float = 0.01


def makespan(cases: Sequence[float], workers: int, model: Model) -> float:
    """Seconds until the last of ``cases`` is on disk.

    Workers take cases in their order. Storage, network and command each serve one request at a
    time, in the order in which they come.
    """
    ready = [(model.start, k) for k in range(min(workers, len(cases)))]
    heapq.heapify(ready)
    storage = command = 0.0
    waiting: list[tuple[float, int]] = []  # ends of attacks that the command has not seen yet
    todo = iter(cases)
    left = len(cases)
    last = 0.0
    while left:
        # The earliest event: a free worker that takes a case, or a result that is kept.
        if ready and (not waiting or ready[0][0] <= waiting[0][0]):
            now, worker = heapq.heappop(ready)
            if (seconds := next(todo, None)) is None:
                continue
            storage = max(now + model.dispatch, storage) + model.read_bytes / model.storage
            heapq.heappush(waiting, (storage + seconds + model.dispatch, worker))
        else:
            now, worker = heapq.heappop(waiting)
            command = max(now, command) + model.result_bytes / model.network + model.keep
            heapq.heappush(ready, (command, worker))
            last, left = command, left - 1
    return last


def efficiency(cases: Sequence[float], workers: int, model: Model) -> float:
    """Share of the workers' time that goes into attacks."""
    return sum(cases) / (workers * makespan(cases, workers, model))


def trace_of(audit: Path) -> list[float]:
    """Seconds of each case of an audit, once."""
    with (audit / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = ("round", "site", "attack", "defence", "knowledge", "seed")
    return list({tuple(r[n] for n in names): float(r["seconds"]) for r in rows}.values())


def main() -> None:
    """Print one object: cases, mean_seconds, efficiency by workers, hours by workers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("audit", type=Path)
    parser.add_argument("--keep", type=float, required=True, help="seconds of the command a case")
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    trace, rng = trace_of(args.audit), random.Random(args.seed)
    cases = rng.choices(trace, k=args.cases)
    model = Model(keep=args.keep)
    result = {
        "cases": args.cases,
        "traced": len(trace),
        "mean_seconds": sum(trace) / len(trace),
        "keep_seconds": args.keep,
        "efficiency": {w: round(efficiency(cases, w, model), 3) for w in WORKERS},
        "hours": {w: round(makespan(cases, w, model) / 3600, 2) for w in WORKERS},
    }
    print(json.dumps(result, indent=2))
    if args.json:
        args.json.write_text(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
