"""Audits on a Ray cluster in which something is killed at a random moment, against one left alone.

A cluster of two nodes on this machine. In each run one of three is killed: a worker, a node (its
raylet) or the command itself, some seconds after the start, or when so many cases are done, both
drawn at random. A command that ended with an error, or was killed, is given again. At the end
``results.csv`` must be that of the run that was left alone, but for the column ``seconds``.

    python tests/benchmarks/kills.py [--runs 20] [--seed 0] [--json FILE]
"""

import argparse
import csv
import importlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from made import make_record

KINDS = ("worker", "node", "command")
_MOST_TRIES = 5
_DONE = (0, 3)  # done, and done without originals to compare with


def start(records: Path, out: Path, address: str) -> "subprocess.Popen[str]":
    """The audit, as a user gives it."""
    attack = "dlg:iterations=150"
    command = [sys.executable, "-c", "from medleak.inversion.cli import main; main()", "audit"]
    command += [str(records), "--attack", attack, "--no-health", "--no-beside", "--out", str(out)]
    command += ["--cluster", address, "--prior", "gray"]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=records.parent
    )


def workers() -> list[psutil.Process]:
    """Processes of the cluster that work on cases; not those of another one on this machine."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if "_Far" in " ".join(process.cmdline()):
                found.append(process)
    return found


def table(out: Path) -> list[dict[str, str]]:
    """results.csv but for the seconds."""
    with (out / "results.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def done(out: Path) -> int:
    """Cases whose end is on disk."""
    count = 0
    for name, heads in (("journal.jsonl", 0), ("results.csv", 1)):
        if (path := out / name).exists():
            count += max(path.read_bytes().count(b"\n") - heads, 0)
    return count


@dataclass(frozen=True)
class Moment:
    """So many seconds after ``cases`` are done; of none, after the command was given."""

    cases: int
    seconds: float

    @classmethod
    def drawn(cls, rng: random.Random, cases: int) -> "Moment":
        """One of four falls into the start, the others anywhere between the cases."""
        if rng.random() < 0.25:
            return cls(0, rng.uniform(0, 8))
        return cls(rng.randrange(1, cases), rng.uniform(0, 0.5))


def kill(kind: str, command: "subprocess.Popen[str]", nodes: Any, rng: random.Random) -> bool:
    """Kill one of the kind; whether there was one."""
    if kind == "command":
        command.kill()
        return True
    if kind == "node":
        nodes.remove_node(nodes.worker_nodes.copy().pop(), allow_graceful=False)
        nodes.add_node(num_cpus=1)
        return True
    if not (found := workers()):
        return False
    os.kill(rng.choice(found).pid, signal.SIGKILL)
    return True


def disturbed(
    records: Path, out: Path, nodes: Any, kind: str, moment: Moment, rng: random.Random
) -> tuple[int, bool]:
    """Give the command until it succeeds, and kill once; how often it was given, and the kill."""
    hit = False
    for tries in range(1, _MOST_TRIES + 1):
        command = start(records, out, nodes.address)
        began = time.monotonic() if not moment.cases else None
        while command.poll() is None:
            if began is None and done(out) >= moment.cases:
                began = time.monotonic()
            if not hit and began is not None and time.monotonic() - began >= moment.seconds:
                hit = kill(kind, command, nodes, rng)
            time.sleep(0.05)
        _, said = command.communicate()
        if command.returncode in _DONE:
            return tries, hit
        if command.returncode > 0:
            print(said.strip().splitlines()[-1:], flush=True)
        if "Traceback" in said:
            raise SystemExit(f"{kind} killed at {moment}: {said}")
    raise SystemExit(f"{kind} killed at {moment}: given {_MOST_TRIES} times, no success")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one object: runs, equal, kinds, hit, tries, seconds_undisturbed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(arguments)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    rng = random.Random(args.seed)
    result: dict[str, Any] = {"runs": args.runs, "equal": 0, "hit": 0}
    kinds, tries = Counter[str](), Counter[int]()
    with tempfile.TemporaryDirectory() as folder:
        records = make_record(Path(folder), sites=8, rounds=1)
        nodes = importlib.import_module("ray.cluster_utils").Cluster()
        try:
            nodes.add_node(num_cpus=1, include_dashboard=False)
            nodes.add_node(num_cpus=1)
            alone, began = Path(folder, "alone"), time.monotonic()
            command = start(records, alone, nodes.address)
            _, said = command.communicate()
            if command.returncode not in _DONE:
                raise SystemExit(said)
            length = time.monotonic() - began
            expected = table(alone)
            for number in range(args.runs):
                kind, moment = KINDS[number % len(KINDS)], Moment.drawn(rng, len(expected))
                out = Path(folder, f"run{number}")
                given, hit = disturbed(records, out, nodes, kind, moment, rng)
                equal = table(out) == expected
                result["equal"] += equal
                result["hit"] += hit
                kinds[kind] += 1
                tries[given] += 1
                print(
                    f"{number}: {kind}, {moment.seconds:.1f} s after {moment.cases} cases, killed "
                    f"{hit}, given {given} times: equal {equal}",
                    flush=True,
                )
        finally:
            nodes.shutdown()
    result |= {"kinds": dict(kinds), "tries": dict(tries), "seconds_undisturbed": length}
    print(json.dumps(result, indent=2))
    if args.json:
        args.json.write_text(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
