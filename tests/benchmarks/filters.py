"""Time and memory of every filter on a ResNet-18 update (11.2 million values), on one core.

Run it by hand, on an idle machine: ``python tests/benchmarks/filters.py --json figures.json``.
Targets (docs/filters.md): at most 0.5 s of CPU time, peak memory at most 2.5 times the update (3.5
with error feedback, whose memory is one more update); exit code 1 if one of ours misses one.
NVFlare's own filters are measured beside them, and not judged.

The last rows are the same filters as NVFlare calls them: the checks of the update against the
model, the fixed schema and the metadata included. The copy of the global model that they keep
while a site trains (once the update's size) is made before and not counted.

``seconds`` is the best of ``--repeat`` runs, process CPU time (NumPy is held to one thread).
``peak_ratio`` is the update itself plus the most that the filter allocated at a time (tracemalloc,
in which NumPy reports its arrays), over the update's size.
"""

import argparse
import json
import os
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.event_type import EventType
from nvflare.apis.filter import Filter
from nvflare.apis.fl_constant import FLContextKey, ReservedKey
from nvflare.apis.fl_context import FLContext
from nvflare.app_common.filters.exclude_vars import ExcludeVars
from nvflare.app_common.filters.percentile_privacy import PercentilePrivacy
from nvflare.app_common.filters.svt_privacy import SVTPrivacy

from medleak.filters import adapters, storage
from medleak.filters.defences.error_feedback import compress_with_feedback
from medleak.filters.noise import NoiseSource
from medleak.filters.registry import defence

MAX_SECONDS, MAX_PEAK, MAX_PEAK_WITH_FEEDBACK = 0.5, 2.5, 3.5
OURS = (
    "percentile_gaussian:sigma0=10",
    "percentile_gaussian:sigma0=10,scope=group",
    "percentile_gaussian:sigma0=10,scope=tensor",
    "gaussian_perturbation:scale=0.01",
    "laplace_perturbation:level=100",
    "clipped_gaussian:max_grad_norm=1,noise_multiplier=8",
    "clipped_gaussian:max_grad_norm=1,noise_multiplier=8,buffers=noise",
    "clipped_laplace:max_grad_norm=1,noise_multiplier=8",
    "top_k:fraction=0.01",
    "random_k:fraction=0.01",
    "sign",
    "quantisation:bits=8",
    "withhold:batch_norm=withhold_all",
)
Run = Callable[[], object]


def resnet18(rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, Any]]:
    """Global state and update with the names and shapes of a ResNet-18 with two classes."""
    state: dict[str, Any] = {}

    def conv(name: str, out: int, into: int, size: int) -> None:
        state[f"{name}.weight"] = rng.normal(0, 0.05, (out, into, size, size)).astype(np.float32)

    def norm(name: str, width: int) -> None:
        for part, value in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
            state[f"{name}.{part}"] = np.full(width, value, np.float32)
        state[f"{name}.num_batches_tracked"] = np.array(100.0)

    conv("conv1", 64, 3, 7)
    norm("bn1", 64)
    into = 64
    for layer, width in enumerate((64, 128, 256, 512), start=1):
        for block in range(2):
            prefix = f"layer{layer}.{block}"
            conv(f"{prefix}.conv1", width, into, 3)
            norm(f"{prefix}.bn1", width)
            conv(f"{prefix}.conv2", width, width, 3)
            norm(f"{prefix}.bn2", width)
            if into != width:
                conv(f"{prefix}.downsample.0", width, into, 1)
                norm(f"{prefix}.downsample.1", width)
            into = width
    state["fc.weight"] = rng.normal(0, 0.05, (2, 512)).astype(np.float32)
    state["fc.bias"] = np.zeros(2, np.float32)
    update = {
        n: np.array(4.0)
        if n.endswith("tracked")
        else rng.normal(0, 0.07 if "running" in n else 2.6e-5, v.shape).astype(np.float32)
        for n, v in state.items()
    }
    return state, update


def measure(run: Run, size: int, repeat: int) -> tuple[float, float]:
    """Best CPU seconds of ``repeat`` runs, and peak memory over ``size`` bytes."""
    seconds = []
    for _ in range(repeat):
        start = time.process_time()
        run()
        seconds.append(time.process_time() - start)
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return min(seconds), 1 + peak / size


def candidates(
    state: Mapping[str, Any], update: Mapping[str, Any], folder: Path
) -> list[tuple[str, bool, Run]]:
    """Name, whether it is ours, and one run of it."""

    def ours(spec: str) -> Run:
        used = defence(spec)
        return lambda: used(update, rng=NoiseSource.secure(), global_state=state)

    def theirs(filter_: Any) -> Run:
        def run() -> object:
            result = DXO(DataKind.WEIGHT_DIFF, data=dict(update)).to_shareable()
            return filter_.process(result, FLContext())

        return run

    def in_nvflare(filter_: Filter) -> Run:
        task = DXO(DataKind.WEIGHTS, data=dict(state)).to_shareable()
        task.set_header("current_round", 0)
        context = FLContext()
        workspace = SimpleNamespace(get_root_dir=lambda: str(folder))
        named = {
            ReservedKey.ENGINE: SimpleNamespace(get_workspace=lambda: workspace),
            ReservedKey.RUN_NUM: "job",
            FLContextKey.TASK_DATA: task,
            FLContextKey.TASK_NAME: "train",
            FLContextKey.TASK_ID: "1",
        }
        for key, value in named.items():
            context.set_prop(key, value, private=True, sticky=False)
        filter_.handle_event(EventType.AFTER_TASK_DATA_FILTER, context)
        return lambda: filter_.process(
            DXO(DataKind.WEIGHT_DIFF, data=dict(update)).to_shareable(), context
        )

    memory = {n: v for n, v in update.items() if not n.endswith("tracked")}
    top_k = defence("top_k:fraction=0.01")

    def feedback() -> object:
        rng = NoiseSource.secure()
        return compress_with_feedback(top_k, update, memory, rng=rng, global_state=state)

    def store() -> object:
        return storage.save(folder / "release.safetensors", update)

    in_use = (
        adapters.PercentileGaussian(sigma0=10.0),
        adapters.ClippedGaussian(max_grad_norm=1.0, noise_multiplier=8.0),
        adapters.Withhold(batch_norm="withhold_all"),
    )
    return [
        *((spec, True, ours(spec)) for spec in OURS),
        ("top_k:fraction=0.01 with error feedback", True, feedback),
        ("privacy ledger: store and hash the release", True, store),
        *((f"NVFlare filter {type(f).__name__}", True, in_nvflare(f)) for f in in_use),
        ("nvflare PercentilePrivacy", False, theirs(PercentilePrivacy())),
        ("nvflare SVTPrivacy", False, theirs(SVTPrivacy())),
        ("nvflare ExcludeVars", False, theirs(ExcludeVars("running_|num_batches"))),
    ]


def main() -> int:
    """Measure, print, write; 1 if a filter of ours misses a target."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="write name, seconds, peak_ratio to this file")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    state, update = resnet18(np.random.default_rng(0))
    size = sum(v.nbytes for v in update.values())
    print(f"{sum(v.size for v in update.values()):,} values, {size / 2**20:.1f} MiB")
    rows, missed = [], False
    with tempfile.TemporaryDirectory() as folder:
        measured = [
            (name, ours, *measure(run, size, options.repeat))
            for name, ours, run in candidates(state, update, Path(folder))
        ]
    for name, ours, seconds, peak in measured:
        limit = MAX_PEAK_WITH_FEEDBACK if "feedback" in name else MAX_PEAK
        bad = ours and (seconds > MAX_SECONDS or peak > limit)
        missed |= bad
        rows.append({"name": name, "seconds": round(seconds, 3), "peak_ratio": round(peak, 2)})
        print(f"{name:66s} {seconds:7.3f} s {peak:6.2f} x{'  MISSED' if bad else ''}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
