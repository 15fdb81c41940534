"""Seconds that the recorder adds to one round of nine ResNet-18 sites.

python tests/benchmarks/recorder.py [--json FILE]
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from medleak.custom.networks import resnet18
from medleak.custom.record import (
    InputSpec,
    Manifest,
    ModelSpec,
    TaskSpec,
    UpdateInfo,
    utc_now,
    write_global,
    write_manifest,
    write_update,
)

SITES = 9


def main() -> None:
    """Write a few rounds, print the median."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    state = {k: v.numpy() for k, v in resnet18().state_dict().items()}
    seconds = []
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        root = Path(folder)
        manifest = Manifest(
            job="benchmark",
            created=utc_now(),
            model=ModelSpec(path="medleak.custom.networks.resnet18"),
            task=TaskSpec(num_classes=2),
            input=InputSpec(spatial_size=(64, 64), channels=1),
        )
        write_manifest(root, manifest)
        for round in range(args.rounds):
            started = time.perf_counter()
            digest = write_global(root, round, state)
            for site in range(SITES):
                info = UpdateInfo(
                    round=round,
                    site=f"site-{site}",
                    time=utc_now(),
                    n_images=1,
                    n_steps=1,
                    batch_size=1,
                    local_epochs=1,
                    lr=0.01,
                )
                write_update(root, info, digest, state)
            seconds.append(time.perf_counter() - started)
    size = sum(np.asarray(v).nbytes for v in state.values()) * (SITES + 1) / 1e6
    result = {"seconds_a_round": statistics.median(seconds), "megabytes_a_round": size}
    print(json.dumps(result, indent=2))
    if args.json:
        args.json.write_text(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
