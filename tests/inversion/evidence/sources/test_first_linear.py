"""The image from a linear layer that takes it."""

import pytest
import torch
from tests.inversion.evidence.rounds import saying, smooth, trained_once
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
    assert found.start_losses["closed_form"] > 100 * found.losses["closed_form"]


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


@pytest.mark.parametrize("noise", [1.0, float("nan")])
def test_an_update_that_no_image_explains_is_stuck_and_nobody_calls_it_exact(noise):
    observation = trained_once(perceptron(), smooth(1), torch.tensor([1]), noise=noise)
    reading = Reading(observation)
    assert SOURCE.answer is not None
    answer = SOURCE.answer(reading)
    assert answer is not None
    assert answer.stuck
    (told,) = SOURCE.tell(reading)
    assert told.exact is False
    assert not told.useful
    assert "do not agree on one image" in told.words


def test_rows_of_more_images_than_were_declared_are_no_image():
    observation = trained_once(perceptron(), smooth(2), torch.tensor([1, 0]))
    reading = Reading(saying(observation, n_images=1, batch_size=1))
    (told,) = SOURCE.tell(reading)
    assert told.exact is False
    assert SOURCE.answer is not None
    answer = SOURCE.answer(reading)
    assert answer is not None
    assert answer.stuck


@pytest.mark.parametrize("change", [{"optimizer": "lamb"}, {"optimizer": "adamw", "n_steps": 3}])
def test_where_the_update_is_no_sum_of_gradients_its_quotient_is_no_image(change):
    reading = Reading(saying(trained_once(perceptron(), smooth(1), torch.tensor([1])), **change))
    (told,) = SOURCE.tell(reading)
    assert (told.useful, told.exact) == (False, None)
    assert "no sum of gradients" in told.words
    assert SOURCE.answer is not None
    assert SOURCE.answer(reading) is None


def test_a_single_row_agrees_with_itself_and_only_its_rounding_can_say():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 1), nn.Linear(1, 2))
    (told,) = SOURCE.tell(Reading(trained_once(network, smooth(1), torch.tensor([1]))))
    assert told.exact
    noised = Reading(trained_once(network, smooth(1), torch.tensor([1]), noise=0.1))
    (told,) = SOURCE.tell(noised)
    assert (told.useful, told.exact) == (False, False)
    assert SOURCE.answer is not None
    answer = SOURCE.answer(noised)
    assert answer is not None
    assert answer.stuck
