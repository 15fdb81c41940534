"""One mechanism put to the test once, by the code of ``medleak dp-audit``."""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import nn

from medleak.custom.sites import canaries
from medleak.custom.sites.canaries import Plan
from medleak.custom.training.dp_sgd import DPSGD, train_dp_sgd
from medleak.custom.training.planting import planted
from medleak.custom.training.sgd import LocalSGD, Normalisation
from medleak.filters.doctor.neighbours import chain_of, releases
from medleak.filters.noise import NoiseSource
from medleak.filters.privacy import accounting
from medleak.inversion.dp_audit.claims import Claim
from medleak.inversion.dp_audit.curve import least_refuting, with_scaled_noise
from medleak.inversion.dp_audit.guesses import best_guesses
from medleak.inversion.dp_audit.planted import Examiner, guessed
from medleak.inversion.dp_audit.verdict import judge

LR, DELTA, SIZE, EPOCHS = 0.1, 1e-5, 8, 2
MECHANISM = DPSGD(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=0.5)
FILTER = "clipped_gaussian:max_grad_norm=1,noise_multiplier=2,buffers=noise"
_EACH = 0.975  # of the two tests of a run with canaries, as `medleak.inversion.dp_audit.planted`
_WEIGHTS = 20  # a canary, as `canaries.drawn` wants


def with_canaries(count: int) -> dict[str, Any]:
    """A small training by the jobs' own DP-SGD with ``count`` gradients, one round."""
    hidden = max(64, -(-_WEIGHTS * count // (3 * SIZE * SIZE)))
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(3 * SIZE * SIZE, hidden), nn.Tanh(), nn.Linear(hidden, 2)
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
    claim, number, needed = _plan(count)
    found = guessed(scores, listed.planted, claim, Examiner(delta=DELTA, guesses=number))
    scaled = with_scaled_noise(claim.events, count, number, found.right, _EACH, DELTA)
    return {
        "refuted": found.kind == "refuted" or (needed is not None and found.right >= needed),
        "claimed": found.claimed,
        "bound": found.bound,
        "scaled": scaled or 0.0,
        "guessed": found.guessed,
        "needed": needed,
        "right": found.right,
    }


@lru_cache
def _plan(count: int) -> tuple[Claim, int, int | None]:
    """What is claimed, how many canaries are guessed, and how many right ones contradict it."""
    event = accounting.dp_sgd(**MECHANISM.declaration(EPOCHS)).event
    claim = Claim(epsilon=accounting.epsilon([event], DELTA), by="", events=(event,))
    number = best_guesses(count, claim, delta=DELTA, confidence=_EACH)
    return claim, number, least_refuting([event], count, number, _EACH)


def by_releases(count: int, *, ignore_delta: bool = False) -> dict[str, Any]:
    """Clip + noise by ``count`` releases of each of two neighbouring updates."""
    seen = releases(chain_of(FILTER), count)
    claim = (lambda events, delta: accounting.epsilon(events, 0.5)) if ignore_delta else None
    found = judge(seen.scores, seen.guarantee, relation=seen.relation, delta=DELTA, claim=claim)
    (release,) = [b for b in found.bounds if b.what == "release"]
    over = max(found.bounds, key=lambda b: b.epsilon - (b.claimed or 0.0))
    return {
        "refuted": found.kind == "refuted",
        "claimed": release.claimed,
        "bound": release.epsilon,
        "by": over.what,
        "releases": count,
    }
