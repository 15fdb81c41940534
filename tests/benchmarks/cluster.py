"""An audit by a Ray cluster of two nodes against the same by two processes of this machine.

Both nodes are on this machine, one CPU each. Every case is an attack of so many CPU seconds on an
update of a small network; starts of Ray and of processes are counted.

    python tests/benchmarks/cluster.py [--cases 40] [--seconds 4] [--json FILE]
"""

import argparse
import importlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from made import make_record

from medleak.inversion.audit.plan import Plan
from medleak.inversion.audit.run import audit
from medleak.inversion.audit.workers.cluster import Share, connected


def main() -> None:
    """Print one object: efficiency, cases, seconds_two_processes, seconds_cluster."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=4.0, help="CPU seconds of a case")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    # Processes of the cluster find medleak where this one does.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    with tempfile.TemporaryDirectory() as folder:
        records = make_record(Path(folder), sites=args.cases, rounds=1)

        def plan(name: str) -> Plan:
            attack = f"dlg:seconds={args.seconds:g}"
            return Plan(records=records, out=Path(folder, name), attacks=[attack])

        start = time.perf_counter()
        done = list(audit(plan("processes"), jobs=2, health=False, nulls=False))
        processes = time.perf_counter() - start
        nodes = importlib.import_module("ray.cluster_utils").Cluster()
        try:
            for _ in range(2):
                nodes.add_node(num_cpus=1, include_dashboard=False)
            start = time.perf_counter()
            with connected(nodes.address, Share()) as cluster:
                there = plan("cluster")
                done += audit(there, cluster=cluster, health=False, nulls=False)
            seconds = time.perf_counter() - start
        finally:
            nodes.shutdown()
    if refused := [outcome.refused for outcome in done if outcome.refused]:
        raise SystemExit(f"{len(refused)} cases were refused: {refused[0]}")
    result = {
        "efficiency": processes / seconds,
        "cases": args.cases,
        "seconds_two_processes": processes,
        "seconds_cluster": seconds,
    }
    print(json.dumps(result, indent=2))
    if args.json:
        args.json.write_text(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
