"""Visits of one batch at weights between the ends of a round, and the statistics that mix them.

One running statistic mixes those of all visits. Taken together at one point of the way they lead
near; taken apart, each at its own point, they lead on, and those of the first layers most: later
ones depend on where exactly the weights were, which a line between the ends does not tell.

Row spaces of the first visit, where they stand out, know nothing of contrast and little of fine
detail: statistics of the layers before them do.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from medleak.inversion.evidence.one_round import Evidence
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
    made = progress_of(observation, observation.n_passes)
    return Rounds((_at_visits(observation, rounds.last, rounds.norms, made, images),))


def with_visits(
    observation: Observation, rounds: Rounds, images: Tensor, progress: Sequence[float]
) -> Rounds:
    """``rounds``, of one batch's first visit, and the statistics before its first row space.

    Args:
        observation: The client.
        rounds: Whose last one holds row spaces of the first visit, and no statistics.
        images: Found so far, with their contrast: they tell how far statistics moved.
        progress: Of the round, at each visit.
    """
    evidence = rounds.last
    before = evidence.layers[next(iter(evidence.spans))].norms_before
    norms = [n for n in before if n in observation.bn_statistics]
    told = _at_visits(observation, evidence, norms, progress, images)
    alone = replace(told, spans={}, covers={}, features={}, clues={})
    return Rounds((alone, evidence))


def _at_visits(
    observation: Observation,
    evidence: Evidence,
    norms: Collection[str],
    made: Sequence[float],
    images: Tensor,
) -> Evidence:
    passes = len(made)
    visits = [LocalStep(evidence.steps[0].images, progress) for progress in made]
    there = probes(observation, visits)
    with torch.no_grad():
        first, last = (
            there[p].run(images.clamp(0, 1), statistics=norms).statistics
            for p in (made[0], made[-1])
        )
    moved = {
        n: float(statistics_distance({n: last[n]}, {n: first[n]})) * passes / (passes - 1)
        for n in norms
    }
    return replace(
        evidence,
        steps=tuple(visits),
        probes=there,
        statistics={n: observation.bn_statistics[n] for n in norms},
        norms=tuple(norms),
        mixing={n: batch_weights(observation, n, passes) for n in norms},
        trust={n: 1 / (1 + (moved[n] / _STILL) ** 2) for n in norms},
    )
