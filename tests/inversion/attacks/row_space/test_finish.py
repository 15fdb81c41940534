"""Tests of medleak.inversion.attacks.row_space.finish: contrast, where row spaces led the way."""

import torch
from tests.inversion.evidence.rounds import client, smooth
from torch import nn

from medleak.inversion.attacks.row_space.finish import with_contrast
from medleak.inversion.attacks.row_space.visits import with_visits
from medleak.inversion.descent.meter import Meter
from medleak.inversion.evidence.one_round import read_evidence
from medleak.inversion.evidence.several_rounds import Rounds, join
from medleak.inversion.evidence.terms import Compared, terms

TRUTH, LABEL = smooth(1), torch.tensor([1])


def meter() -> Meter:
    return Meter(torch.device("cpu"), total=1, seconds=None, progress=None)


def several_steps() -> tuple:
    """One image seen three times, weights moving so far that each visit has its own directions."""
    observation = client(TRUTH, LABEL, epochs=3, lr=0.1)
    rounds = join([read_evidence(observation)])
    assert rounds.steps[0].visits == 3
    assert not rounds.norms
    return observation, rounds


def test_statistics_of_all_visits_stand_beside_the_row_spaces_of_the_first():
    observation, rounds = several_steps()
    told = with_visits(observation, rounds, TRUTH, (0.0, 0.4, 0.7))
    assert told.spans.keys() == rounds.spans.keys()
    first = next(iter(rounds.spans))
    assert set(told.norms) == set(rounds.last.layers[first].norms_before)
    everything = Compared(norms=told.norms, spans=tuple(told.spans))
    with torch.no_grad():
        near = terms(told, TRUTH, everything)
        far = terms(told, 0.6 * TRUTH + 0.1, everything)
    assert near.span < 1e-4
    assert near.statistics < 0.3 * far.statistics


def test_contrast_and_detail_follow_from_the_visits_statistics():
    observation, rounds = several_steps()
    washed = nn.functional.avg_pool2d(0.6 * TRUTH + 0.1, 5, 1, 2, count_include_pad=False)
    found = with_contrast(observation, rounds, washed, meter(), stuck=False)
    with_contrast_alone = with_contrast(observation, rounds, washed, meter(), stuck=True)
    error, before = (float((x - TRUTH).square().mean()) for x in (found, with_contrast_alone))
    assert error < 0.5 * before


def test_where_nothing_tells_contrast_it_is_guessed():
    observation = client(TRUTH, LABEL, statistics=False)
    rounds: Rounds = join([read_evidence(observation)])
    found = with_contrast(observation, rounds, 0.5 * TRUTH + 0.2, meter(), stuck=False)
    assert found.min() < 0.02
    assert found.max() <= 1
