"""Tests of medleak.inversion.reconstruction."""

import pytest
import torch

from medleak.inversion.reconstruction import Reconstruction


def make(images, labels=None):
    return Reconstruction(
        images=images, labels=labels, losses={}, history=torch.zeros(0), iterations=0, seconds=0.0
    )


def test_images_in_range_are_taken():
    assert make(torch.rand(2, 1, 4, 4), torch.tensor([0, 1])).attempts == 1


@pytest.mark.parametrize("value", [float("nan"), -0.1, 1.1, float("inf")])
def test_values_that_a_metric_would_turn_into_a_wrong_number_are_refused(value):
    images = torch.full((1, 1, 4, 4), 0.5)
    images[0, 0, 0, 0] = value
    with pytest.raises(ValueError, match=r"finite and in \[0, 1\]"):
        make(images)


@pytest.mark.parametrize("images", [torch.rand(1, 4, 4), torch.rand(1, 1, 4, 4).double()])
def test_other_shapes_and_types_are_refused(images):
    with pytest.raises(ValueError, match="images must be"):
        make(images)


def test_labels_are_one_per_image():
    with pytest.raises(ValueError, match="one per image"):
        make(torch.rand(2, 1, 4, 4), torch.tensor([0]))
