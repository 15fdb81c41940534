"""Tests of the local steps of a round."""

import pytest
import torch
from tests.inversion.evidence.rounds import client, compare, saying, smooth

from medleak.inversion.evidence.one_round import read_evidence
from medleak.inversion.evidence.steps import LocalStep, apart, client_steps, network_at, probes


def test_several_steps_are_evaluated_at_weights_between_the_ends():
    truth = smooth(2)
    evidence = read_evidence(client(truth, torch.tensor([1, 0]), batch_size=1, lr=0.001))
    assert [s.progress for s in evidence.steps] == [0, 0.5]
    found = compare(evidence, truth)
    assert found.statistics.item() < 0.01
    assert found.span.item() < 0.001
    swapped = compare(evidence, truth.flip(0))
    assert swapped.statistics.item() > 5 * found.statistics.item()


def test_several_epochs_are_one_batch_at_their_mean_progress():
    truth = smooth(1)
    evidence = read_evidence(client(truth, torch.tensor([1]), epochs=4, lr=0.001))
    assert [s.progress for s in evidence.steps] == [0.375]
    found = compare(evidence, truth)
    assert found.statistics.item() < 0.01
    assert found.span.item() < 0.001


def test_the_steps_of_a_round_have_a_last_batch_of_the_rest():
    steps = client_steps(client(smooth(5), torch.tensor([0, 1, 0, 1, 1]), batch_size=2, lr=0.001))
    assert [(s.images.start, s.images.stop) for s in steps] == [(0, 2), (2, 4), (4, 5)]


def test_the_network_lies_between_the_two_ends_of_the_round():
    observation = client(smooth(1), torch.tensor([1]))
    start, half, end = (network_at(observation, p) for p in (0.0, 0.5, 1.0))
    for name, before in start.named_parameters():
        after = end.get_parameter(name)
        torch.testing.assert_close(after - before, observation.parameter_update[name])
        torch.testing.assert_close(half.get_parameter(name), (before + after) / 2)


def test_visits_of_one_batch_can_be_taken_apart_and_others_cannot():
    labels = torch.tensor([1, 0])
    twice = apart(client(smooth(2), labels, epochs=2))
    assert twice == (LocalStep(slice(0, 2), 0.0, visits=2),)
    assert apart(client(smooth(2), labels)) is None
    assert apart(client(smooth(2), labels, batch_size=1)) is None
    passes = saying(client(smooth(2), labels, epochs=2), n_steps=1, accumulation_steps=2)
    assert apart(passes) is None


def test_passes_of_one_optimiser_step_are_batches_at_one_progress():
    observation = client(smooth(4), torch.tensor([1, 0, 1, 0]), batch_size=1)
    passes = saying(observation, n_steps=2, batch_size=2)  # which leaves the passes to counters
    assert (passes.n_passes, passes.n_steps, passes.accumulation_steps) == (4, 2, 2)
    steps = client_steps(passes)
    assert [(s.size, s.progress) for s in steps] == [(1, 0), (1, 0), (1, 0.5), (1, 0.5)]


def test_a_schedule_of_the_learning_rate_and_momentum_place_the_steps():
    observation = client(smooth(3), torch.tensor([1, 0, 1]), batch_size=1)
    falling = saying(observation, lr_schedule=(0.02, 0.01, 0.01))
    assert [s.progress for s in client_steps(falling)] == [0, 0.5, 0.75]
    warm = saying(observation, lr=None, lr_schedule=(0.0, 0.01, 0.01), momentum=1 / 2)
    assert warm.lr == 0.01
    assert [s.progress for s in client_steps(warm)] == pytest.approx([0, 0, 6 / 13])


def test_a_schedule_of_another_number_of_steps_is_refused():
    observation = saying(client(smooth(1), torch.tensor([1])), lr_schedule=(0.01, 0.02))
    with pytest.raises(ValueError, match="lr_schedule has 2 learning rates for 1 local steps"):
        client_steps(observation)


def test_many_steps_share_a_few_probes():
    observation = client(smooth(1), torch.tensor([1]))
    steps = [LocalStep(slice(0, 1), k / 40) for k in range(40)]
    found = probes(observation, steps)
    assert set(found) == {s.progress for s in steps}
    assert len(set(map(id, found.values()))) <= 8
