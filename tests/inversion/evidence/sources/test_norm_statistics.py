"""What batch statistics tell."""

import torch
from tests.inversion.evidence.rounds import client, smooth

from medleak.inversion.evidence.reading import Reading
from medleak.inversion.evidence.sources.norm_statistics import SOURCE, mixing, noise, norms


def test_every_norm_that_moved_is_told_and_those_that_did_not_are_named():
    reading = Reading(client(smooth(1), torch.tensor([1])))
    told = SOURCE.tell(reading)
    assert [t.layer for t in told] == list(norms(reading))
    assert all(t.useful for t in told)
    frozen = SOURCE.tell(Reading(client(smooth(1), torch.tensor([1]), frozen=True)))
    assert frozen
    assert not any(t.useful for t in frozen)


def test_of_several_steps_weights_add_up_to_one_and_later_ones_count_more():
    reading = Reading(client(smooth(2), torch.tensor([1, 0]), batch_size=1, lr=0.001))
    for weights in mixing(reading).values():
        assert float(weights.sum()) == 1
        assert weights[1] > weights[0]


def test_noise_grows_with_that_of_the_update():
    reading = Reading(client(smooth(1), torch.tensor([1])))
    assert noise(reading, 0.0) == 0
    assert noise(reading, 2e-3) == 2 * noise(reading, 1e-3) > 0
