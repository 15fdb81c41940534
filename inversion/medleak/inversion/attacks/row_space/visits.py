"""Visits of one batch at weights between the ends of a round, where statistics alone tell of it.

One running statistic mixes those of all visits. Taken together at one point of the way they lead
near; taken apart, each at its own point, they lead on, and those of the first layers most: later
ones depend on where exactly the weights were, which a line between the ends does not tell.
"""

from dataclasses import replace

import torch
from torch import Tensor

from medleak.inversion.evidence.several_rounds import Rounds
from medleak.inversion.evidence.steps import LocalStep, batch_weights, probes, progress_of
from medleak.inversion.losses import statistics_distance
from medleak.inversion.observation import Observation

_MOST = 6  # visits: each is a pass more an iteration, and a copy of the network
_STILL = 0.02  # relative change of a layer's statistics in the round; the line misses 1/5 of it


def can_be_visited(observation: Observation, rounds: Rounds) -> bool:
    """Whether one batch was seen a few times, and statistics alone tell of it."""
    alone = len(rounds.rounds) == len(rounds.steps) == observation.accumulation_steps == 1
    if not alone or rounds.spans or not 2 <= observation.n_passes <= _MOST:
        return False
    return bool(rounds.norms) and not rounds.last.frozen


def visited(observation: Observation, rounds: Rounds, images: Tensor) -> Rounds:
    """The evidence of ``rounds`` with each visit at its own weights.

    Args:
        observation: The client, of whom `can_be_visited` holds.
        rounds: As read.
        images: Found so far: they tell how far each layer's statistics moved.
    """
    evidence, passes = rounds.last, observation.n_passes
    made = progress_of(observation, passes)
    visits = [LocalStep(evidence.steps[0].images, progress) for progress in made]
    there = probes(observation, visits)
    with torch.no_grad():
        first, last = (
            there[p].run(images.clamp(0, 1), statistics=rounds.norms).statistics
            for p in (made[0], made[-1])
        )
    moved = {
        n: float(statistics_distance({n: last[n]}, {n: first[n]})) * passes / (passes - 1)
        for n in rounds.norms
    }
    found = replace(
        evidence,
        steps=tuple(visits),
        probes=there,
        mixing={n: batch_weights(observation, n, passes) for n in rounds.norms},
        trust={n: 1 / (1 + (moved[n] / _STILL) ** 2) for n in rounds.norms},
    )
    return Rounds((found,))
