"""The attacks on real images, from records: one line a case, as in docs/measurements/attacks.md.

Run it by hand, on an idle machine::

    python tests/benchmarks/attacks.py --cases single64,batch4 --json figures.json
    python tests/benchmarks/attacks.py --data FOLDER_PER_CLASS --weights FILE --device cuda

The first run trains a global model for each image size (minutes) and keeps it in the temporary
folder. Attacked images were used neither for that nor for any choice of settings (``clients.py``);
``--split tune`` is there for choosing them. One thread; CPU seconds (wall seconds on a GPU).
Exit code 1 if a case misses its target.
"""

import argparse
import dataclasses
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import at_once
import classical
import torch
from clients import DataSet, Split, World, client_record, make_world, parser_of
from figures import mean, missed

from medleak.custom.record import Record
from medleak.filters.noise import NoiseSource
from medleak.filters.registry import defence
from medleak.inversion.attacks.row_space import RowSpace, run
from medleak.inversion.attacks.row_space.recipes import STATISTICS
from medleak.inversion.knowledge import Knowledge
from medleak.inversion.measures.similarity import assign, pairwise_ssim
from medleak.inversion.observation import observe

_ALL, _DEFAULT, _FEDBN = Knowledge(), RowSpace(), Knowledge(bn_statistics=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A client, an attack, and what it must reach."""

    size: int = 64
    images: int = 1
    batch_size: int | None = None
    epochs: int = 1
    knowledge: Knowledge = _ALL
    noise: float = 0.0
    attack: RowSpace = _DEFAULT
    repeats: int = 6
    mean: float | None = None
    minimum: float | None = None
    over_prior: float | None = None
    seconds: float | None = None
    labels: float | None = None


_MANY = "many224"  # a figure of a GPU: 64 clients at once
CASES = {
    "single64": Case(mean=0.96, minimum=0.92, seconds=8),
    "withheld64": Case(knowledge=_FEDBN, mean=0.95, minimum=0.88, seconds=12),
    "epochs64": Case(epochs=4, mean=0.94, seconds=15),
    "epochswithheld64": Case(epochs=4, knowledge=_FEDBN),
    "batch4": Case(images=4, repeats=3, mean=0.90, seconds=45, labels=0.95),
    "batchwithheld4": Case(images=4, repeats=3, knowledge=_FEDBN),
    "single224": Case(size=224, mean=0.93, minimum=0.87, seconds=40),
    "withheld224": Case(size=224, knowledge=_FEDBN, mean=0.88, minimum=0.70, seconds=60),
    "steps8": Case(images=8, batch_size=4, repeats=3, mean=0.87, seconds=100),
    "batch8": Case(images=8, repeats=3, mean=0.87, seconds=60),
    "batch16": Case(images=16, repeats=3, over_prior=0.25),
    "steps32": Case(images=32, batch_size=4, repeats=3, over_prior=0.10),
} | {
    f"noise64-{sigma:g}-{name}": Case(noise=sigma, attack=attack, repeats=3)
    for sigma in (0, 0.01, 0.1, 1, 10)
    for name, attack in (
        ("chosen", RowSpace()),
        ("statistics", RowSpace(stages=(STATISTICS,))),
        ("span", RowSpace(max_noise=1.0)),
    )
}


@dataclass(frozen=True, slots=True)
class Result:
    """One object of the JSON file."""

    case: str
    ssim_mean: float
    ssim_min: float
    prior_mean: float
    label_accuracy: float | None
    cpu_seconds: float
    images: int
    stuck: int
    iterations: float
    attempts: int
    per_image: list[float]
    missed: list[str]


def measure(name: str, case: Case, world: World, split: Split, seed: int, device: str) -> Result:
    """Attack ``case.repeats`` clients."""
    ssims: list[float] = []
    priors: list[float] = []
    right: list[float] = []
    seconds: list[float] = []
    iterations: list[int] = []
    stuck = attempts = 0
    everything, labels = world.images(split, seed, case.images * case.repeats)
    for i in range(case.repeats):
        chosen = slice(i * case.images, (i + 1) * case.images)
        truth, classes = everything[chosen], labels[chosen]
        if len(truth) < case.images:
            break
        record = client_record(
            world, truth, classes, batch_size=case.batch_size, epochs=case.epochs
        )
        record = _noised(record, case.noise, seed + i)
        clock = time.process_time if device == "cpu" else time.perf_counter
        start = clock()
        observation = observe(record, case.knowledge, device=device)
        generator = torch.Generator().manual_seed(seed + i)
        found = run(case.attack, observation, world.prior, generator=generator)
        seconds.append(clock() - start)
        pairs = assign(found.images, truth)
        ssims += pairs.ssim.tolist()
        priors += pairwise_ssim(world.prior, truth)[0].tolist()
        if found.labels is not None:
            same = found.labels[pairs.reconstruction] == classes[pairs.truth]
            right += same.double().tolist()
        iterations.append(found.iterations)
        stuck += found.stuck
        attempts += found.attempts
        print(
            f"  {name} {i}: SSIM {pairs.ssim.mean():.3f} {seconds[-1]:.1f} s "
            f"{found.attempts} attempts {found.losses} {'STUCK' if found.stuck else ''}",
            file=sys.stderr,
            flush=True,
        )
    result = Result(
        case=name,
        ssim_mean=mean(ssims),
        ssim_min=min(ssims),
        prior_mean=mean(priors),
        label_accuracy=mean(right) if right else None,
        cpu_seconds=mean(seconds),
        images=len(ssims),
        stuck=stuck,
        iterations=mean(iterations),
        attempts=attempts,
        per_image=[round(s, 4) for s in ssims],
        missed=[],
    )
    return dataclasses.replace(result, missed=_missed(case, result))


def _noised(record: Record, sigma0: float, seed: int) -> Record:
    if not sigma0:
        return record
    noise = defence(f"percentile_gaussian:sigma0={sigma0}")
    rng = NoiseSource.seeded(seed, "benchmark")
    update = noise(dict(sorted(record.update.items())), rng=rng, global_state=record.global_state)
    return dataclasses.replace(record, update=dict(update))


def _missed(case: Case, found: Result) -> list[str]:
    return missed(
        (
            ("mean", case.mean, found.ssim_mean, 1),
            ("minimum", case.minimum, found.ssim_min, 1),
            ("over prior", case.over_prior, found.ssim_mean - found.prior_mean, 1),
            ("labels", case.labels, found.label_accuracy, 1),
            ("seconds", case.seconds, found.cpu_seconds, -1),
        )
    )


def main() -> int:
    """Parse, measure, print."""
    parser = parser_of(__doc__)
    parser.add_argument("--cases", default="single64", help="comma-separated; 'all', 'noise64'")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--split", choices=("tune", "report"), default="report")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, help="clients a case")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--jobs", type=int, help=f"of {_MANY}: attacks at the same time")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data, worlds = DataSet.open(arguments.data), {}
    results: list[dict[str, Any]] = []
    for name in _chosen(arguments.cases, parser):
        if name in classical.cases():
            _classical(name, arguments, results)
            continue
        if name == _MANY:
            _many(arguments, results)
            continue
        case = CASES[name]
        if arguments.repeats:
            case = dataclasses.replace(case, repeats=arguments.repeats)
        if case.size not in worlds:
            worlds[case.size] = make_world(data, case.size, arguments.weights)
        world = worlds[case.size]
        result = measure(name, case, world, arguments.split, arguments.seed, arguments.device)
        _print(result)
        _keep(dataclasses.asdict(result), results, arguments.json)
    return int(any(r.get("missed") for r in results))


def _classical(name: str, arguments: argparse.Namespace, results: list[dict[str, Any]]) -> None:
    """The cases at 32 px, on the sets that lie beside the one named."""
    beside = [arguments.data.parent / other for other in classical.SETS]
    sets = [folder for folder in beside if folder.is_dir()] or [arguments.data]
    more = {"images": arguments.repeats} if arguments.repeats else {}
    found = classical.cases()[name](
        sets, split=arguments.split, seed=arguments.seed, device=arguments.device, **more
    )
    _keep(found, results, arguments.json)


def _many(arguments: argparse.Namespace, results: list[dict[str, Any]]) -> None:
    more = {"clients": arguments.repeats} if arguments.repeats else {}
    more |= {"jobs": arguments.jobs} if arguments.jobs else {}
    found = at_once.many224(
        arguments.data,
        arguments.weights,
        split=arguments.split,
        seed=arguments.seed,
        device=arguments.device,
        **more,
    )
    _keep(found, results, arguments.json)


def _keep(result: dict[str, Any], results: list[dict[str, Any]], file: Path | None) -> None:
    results.append(result)
    if file:
        file.write_text(json.dumps(results, indent=1))


def _chosen(text: str, parser: argparse.ArgumentParser) -> list[str]:
    known = (*CASES, *classical.cases(), _MANY)
    chosen = []
    for word in text.split(","):
        names = [n for n in known if word in ("all", n) or n.startswith(f"{word}-")]
        if not names:
            parser.error(f"unknown case {word!r}; known: {', '.join(known)}")
        chosen += names
    return chosen


def _print(r: Result) -> None:
    labels = "-" if r.label_accuracy is None else f"{r.label_accuracy:.0%}"
    print(
        f"{r.case:24} SSIM {r.ssim_mean:.3f} (min {r.ssim_min:.3f}) prior {r.prior_mean:.3f} "
        f"labels {labels} {r.cpu_seconds:.1f} s {r.images} images {r.stuck} stuck "
        f"{'; '.join(r.missed) or 'met'}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
