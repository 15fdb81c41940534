"""How often canaries refute a DP-SGD that is as it says, and one that is not: many small trainings.

    python tests/benchmarks/canaries.py --runs 300 --json FILE

Each run trains a small network by the jobs' own DP-SGD on eight made-up images with canaries, in
one round, and guesses them from the change of the weights. ``honest`` must be refuted in at most
5 % of runs; the others have a bug each. ``half`` is the share of runs whose bound reaches half of
the claimed ε.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import nn

from medleak.custom.sites import canaries
from medleak.custom.sites.canaries import Plan
from medleak.custom.training import dp_sgd
from medleak.custom.training.dp_sgd import DPSGD, train_dp_sgd
from medleak.custom.training.planting import planted
from medleak.custom.training.sgd import LocalSGD, Normalisation
from medleak.filters.noise import NoiseSource, add_gaussian
from medleak.filters.privacy import accounting
from medleak.inversion.dp_audit.claims import Claim
from medleak.inversion.dp_audit.curve import least_refuting
from medleak.inversion.dp_audit.planted import Examiner, guessed

LR, DELTA, SIZE = 0.1, 1e-5, 8
MECHANISM = DPSGD(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=0.5)
EPOCHS = 2


@contextmanager
def _bug(name: str) -> Iterator[None]:
    """What is wrong while the block runs."""
    if name == "noise a tenth":

        def little(value: Any, scale: float, source: NoiseSource) -> Any:
            return add_gaussian(value, scale / 10, source)

        with mock.patch.object(dp_sgd, "add_gaussian", little):
            yield
    elif name == "clip skipped":
        clip = dp_sgd._Optimizer.clip_and_accumulate

        def skipped(self: Any) -> None:
            kept, self.max_grad_norm = self.max_grad_norm, 1e6
            clip(self)
            self.max_grad_norm = kept

        with mock.patch.object(dp_sgd._Optimizer, "clip_and_accumulate", skipped):
            yield
    else:
        yield


def main() -> int:
    """Run all; exit code 1 if an honest mechanism is refuted too often, or a bug is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--bugs", type=int, default=20, help="runs of each bug")
    parser.add_argument("--count", type=int, default=400, help="canaries a run")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = []
    for name, runs in (
        ("honest", arguments.runs),
        ("noise a tenth", arguments.bugs),
        ("clip skipped", arguments.bugs),
    ):
        with _bug(name):
            found = [_run(arguments.count) for _ in range(runs)]
        results.append({"mechanism": name, "runs": runs} | _counts(found))
        print(results[-1], flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(results, indent=1))
    honest, *bugs = results
    late = honest["refuted"] > 0.05 * honest["runs"] + 3 * (0.0475 * honest["runs"]) ** 0.5
    return int(late or any(bug["refuted"] < bug["runs"] for bug in bugs))


def _run(count: int) -> dict[str, Any]:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 64), nn.Tanh(), nn.Linear(64, 2)
    )
    before = {n: p.detach().clone() for n, p in network.named_parameters()}
    shapes = {n: tuple(p.shape) for n, p in network.named_parameters()}
    listed = canaries.drawn(
        Plan(kind="gradients", count=count), "site-1", shapes=shapes, num_classes=2
    )
    images, labels = torch.rand(8, 3, SIZE, SIZE), torch.arange(8) % 2
    train_dp_sgd(
        network,
        images,
        labels,
        LocalSGD(batch_size=4, local_epochs=EPOCHS, lr=LR),
        MECHANISM,
        Normalisation((0.0,) * 3, (1.0,) * 3),
        NoiseSource.secure(),
        planted(listed, images),
    )
    now = dict(network.named_parameters())
    change = {n: (now[n].detach() - v).view(-1) for n, v in before.items()}
    scores = np.array([-float(change[c.tensor][c.index]) / LR for c in listed.canaries])
    declared = MECHANISM.declaration(EPOCHS)
    event = accounting.dp_sgd(**declared).event
    claim = Claim(epsilon=accounting.epsilon([event], DELTA), by="", events=(event,))
    how = Examiner(delta=DELTA)
    found = guessed(scores, listed.planted, claim, how)
    needed = least_refuting(claim.events, found.planted, found.guessed, 0.975)
    refuted = found.kind == "refuted" or (needed is not None and found.right >= needed)
    return {
        "refuted": refuted,
        "bound": found.bound,
        "claimed": found.claimed,
        "needed": needed,
    } | {
        "guessed": found.guessed,
        "right": found.right,
    }


def _counts(found: list[dict[str, Any]]) -> dict[str, Any]:
    bounds = np.array([f["bound"] for f in found])
    claimed = found[0]["claimed"]
    return {
        "refuted": sum(bool(f["refuted"]) for f in found),
        "claimed": round(claimed, 3),
        "above_claimed": int((bounds > claimed).sum()),
        "bound_mean": round(float(bounds.mean()), 3),
        "bound_max": round(float(bounds.max()), 3),
        "half": round(float((bounds >= claimed / 2).mean()), 3),
        "guessed": found[0]["guessed"],
        "needed": found[0]["needed"],
        "right_mean": round(float(np.mean([f["right"] for f in found])), 1),
    }


if __name__ == "__main__":
    sys.exit(main())
