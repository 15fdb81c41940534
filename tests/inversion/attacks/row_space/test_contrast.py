"""Tests of medleak.inversion.attacks.row_space.contrast."""

import pytest
import torch
from tests.inversion.evidence.rounds import client, smooth
from torch import nn

from medleak.inversion.attacks.row_space.contrast import (
    fit_contrast,
    guess_contrast,
    sees_contrast,
)
from medleak.inversion.evidence.probe import Probe

IMAGE = torch.linspace(0, 0.95, 64).reshape(1, 1, 8, 8)
FILLED = torch.linspace(0, 1, 10_000).reshape(1, 1, 100, 100)


@pytest.mark.parametrize("level", [0.0, 0.45, 1.0])
@pytest.mark.parametrize("gain", [0.2, 1.0, 5.0])
def test_an_image_that_fills_its_range_is_found_whatever_its_gain(gain, level):
    washed = (FILLED - level) * gain + level
    torch.testing.assert_close(guess_contrast(washed, level), FILLED, atol=0.003, rtol=0)


def test_black_is_enough():
    dark = 0.6 * FILLED
    washed = (dark - 0.45) * 0.3 + 0.45
    torch.testing.assert_close(guess_contrast(washed, 0.45), dark, atol=0.003, rtol=0)


def test_a_single_pixel_of_overshoot_counts_for_nothing():
    spoilt = FILLED.clone()
    spoilt[0, 0, 0, 0] = -3.0
    torch.testing.assert_close(
        guess_contrast(spoilt, 0.45)[..., 1:], FILLED[..., 1:], atol=0.003, rtol=0
    )


def test_a_batch_has_one_gain():
    batch = torch.cat([0.1 * IMAGE, 0.2 * IMAGE])
    found = guess_contrast(batch, 0.0)
    torch.testing.assert_close(found[1, 0, 0, 1] / found[0, 0, 0, 1], torch.tensor(2.0))


def test_an_even_image_stays_what_it_is():
    even = torch.full((1, 1, 8, 8), 0.45)
    assert torch.equal(guess_contrast(even, 0.45), even)


def test_what_comes_out_is_an_image():
    found = guess_contrast(torch.randn(1, 1, 8, 8), 0.0)
    assert found.min() >= 0
    assert found.max() <= 1


@pytest.mark.parametrize(("frozen", "seen"), [(False, False), (True, True)])
def test_a_norm_that_is_frozen_lets_contrast_through(frozen, seen):
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4)
    nn.init.uniform_(norm.bias, 0.5, 1.0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), norm, nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1)
    )
    probe = Probe(
        network, mean=(0.0,), std=(1.0,), image_shape=(1, 8, 8), frozen=["1"] if frozen else []
    )
    assert sees_contrast(probe, "3", IMAGE, 0.0) == seen


def test_statistics_of_visits_tell_gain_and_brightness():
    truth = smooth(1)
    observation = client(truth, torch.tensor([1]), epochs=3, lr=0.1)
    found = fit_contrast(observation, 0.6 * truth + 0.1)
    assert found is not None
    torch.testing.assert_close(found.images, truth, atol=0.01, rtol=0)
    assert found.progress[0] == 0
    assert len(found.progress) == 3


@pytest.mark.parametrize(
    "observation",
    [
        client(smooth(1), torch.tensor([1])),
        client(smooth(1), torch.tensor([1]), epochs=3, statistics=False),
    ],
    ids=["one step", "withheld"],
)
def test_without_statistics_of_visits_no_contrast_is_fitted(observation):
    assert fit_contrast(observation, smooth(1)) is None


def test_an_image_that_explains_no_statistics_gets_no_contrast():
    observation = client(smooth(1), torch.tensor([1]), epochs=3, lr=0.1)
    grain = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    assert fit_contrast(observation, grain) is None
