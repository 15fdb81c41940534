"""The image from a linear layer that takes it."""

import pytest
import torch
from tests.inversion.evidence.rounds import smooth, trained_once
from torch import nn

from medleak.inversion.attacks.row_space import RowSpace, run
from medleak.inversion.evidence.reading import Reading
from medleak.inversion.evidence.sources.first_linear import SOURCE


def perceptron(bias=True):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(3 * 32 * 32, 20, bias=bias), nn.ReLU(), nn.Linear(20, 2)
    )


def test_one_image_comes_back_at_once():
    truth = smooth(1)
    observation = trained_once(perceptron(), truth, torch.tensor([1]))
    (told,) = SOURCE.tell(Reading(observation))
    assert told.exact
    found = run(RowSpace(), observation, None, generator=torch.Generator())
    assert not found.stuck
    assert (found.images - truth).abs().max() < 1e-2
    assert list(found.losses) == ["closed_form"]


def test_several_images_are_told_as_mixed_and_not_answered():
    observation = trained_once(perceptron(), smooth(2), torch.tensor([1, 0]))
    reading = Reading(observation)
    (told,) = SOURCE.tell(reading)
    assert told.exact is None
    assert SOURCE.answer is not None
    assert SOURCE.answer(reading) is None


def test_without_a_bias_nothing_is_told():
    observation = trained_once(perceptron(bias=False), smooth(1), torch.tensor([1]))
    with pytest.raises(KeyError):
        Reading(observation).update["1.bias"]
    assert SOURCE.tell(Reading(observation)) == []


def test_an_update_that_no_image_explains_is_stuck():
    observation = trained_once(perceptron(), smooth(1), torch.tensor([1]), noise=1.0)
    assert SOURCE.answer is not None
    answer = SOURCE.answer(Reading(observation))
    assert answer is not None
    assert answer.stuck
