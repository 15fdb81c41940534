"""Tests of medleak.inversion.contrast."""

import pytest
import torch

from medleak.inversion.contrast import guess_contrast

IMAGE = torch.linspace(0, 0.95, 64).reshape(1, 1, 8, 8)


@pytest.mark.parametrize("level", [0.0, 0.45])
@pytest.mark.parametrize("gain", [0.2, 1.0, 5.0])
def test_an_image_of_usual_brightness_is_found_whatever_its_gain(gain, level):
    washed = (IMAGE - level) * gain + level
    torch.testing.assert_close(guess_contrast(washed, None, level), IMAGE)
    torch.testing.assert_close(guess_contrast(washed, IMAGE, level), IMAGE)


def test_the_prior_counts_half():
    darker = 0.5 * IMAGE
    found = guess_contrast(IMAGE, darker, 0.0)
    torch.testing.assert_close(found, 0.5**0.5 * IMAGE)


def test_a_batch_has_one_gain():
    batch = torch.cat([0.1 * IMAGE, 0.2 * IMAGE])
    found = guess_contrast(batch, None, 0.0)
    torch.testing.assert_close(found[1, 0, 0, 1] / found[0, 0, 0, 1], torch.tensor(2.0))


def test_what_comes_out_is_an_image():
    found = guess_contrast(torch.randn(1, 1, 8, 8), IMAGE, 0.0)
    assert found.min() >= 0
    assert found.max() <= 1
