"""Tests of the visits of one batch, each at its own weights."""

import pytest
import torch
from tests.inversion.evidence.rounds import client, saying, smooth

from medleak.inversion.attacks.row_space.recipes import STATISTICS
from medleak.inversion.attacks.row_space.stages import Matching
from medleak.inversion.attacks.row_space.visits import can_be_visited, visited
from medleak.inversion.evidence.one_round import read_evidence
from medleak.inversion.evidence.several_rounds import join

LABEL = torch.tensor([1])


def several_steps(epochs=3, **said):
    """Steps whose sum shows no row space."""
    observation = client(smooth(1), LABEL, epochs=epochs, lr=0.02)
    return saying(observation, optimizer="adamw", **said)


def test_at_their_own_weights_the_true_image_explains_the_statistics_better():
    observation, truth = several_steps(), smooth(1)
    rounds = join([read_evidence(observation)])
    assert can_be_visited(observation, rounds)
    apart = visited(observation, rounds, truth)
    assert [s.progress for s in apart.steps] == pytest.approx([0, 1 / 3, 2 / 3])
    with torch.no_grad():
        before, after = (
            float(Matching(r, STATISTICS).terms(truth).statistics) for r in (rounds, apart)
        )
        wrong = float(Matching(apart, STATISTICS).terms(smooth(1, seed=1)).statistics)
    assert after < 0.7 * before
    assert wrong > 20 * after


def test_layers_that_moved_far_are_trusted_less():
    observation = several_steps()
    found = visited(observation, join([read_evidence(observation)]), smooth(1)).last
    assert found.trust is not None
    assert found.trust.keys() == set(found.norms)
    first, *_, last = (found.trust[n] for n in found.norms)
    assert 0 < last < first < 1


@pytest.mark.parametrize(
    "observation",
    [
        client(smooth(1), LABEL, epochs=3),
        several_steps(1),
        several_steps(7),
        several_steps(2, n_steps=1, accumulation_steps=2),
        saying(client(smooth(2), torch.tensor([1, 0]), batch_size=1), optimizer="adamw"),
        saying(client(smooth(1), LABEL, epochs=3, statistics=False), optimizer="adamw"),
    ],
    ids=["row spaces", "one step", "many steps", "accumulated", "two batches", "withheld"],
)
def test_other_clients_are_left_as_they_are(observation):
    assert not can_be_visited(observation, join([read_evidence(observation)]))
