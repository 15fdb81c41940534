"""Tests of medleak.inversion.rehearsal.exposure, on layers whose readings are known."""

import pytest
import torch
from torch import nn

from medleak.inversion.rehearsal.exposure import distances, exposed
from medleak.inversion.rehearsal.step import Share, Step, rehearse


def share(inputs, deltas, bias=True):
    layer = nn.Linear(inputs.shape[1], deltas.shape[1], bias=bias)
    return Share(name="hidden", layer=layer, inputs=inputs, deltas=deltas)


@pytest.fixture
def inputs():
    return torch.randn(6, 40, generator=torch.Generator().manual_seed(0)) + 3


def shared_by_all(rows=16):
    draw = torch.Generator().manual_seed(2)
    return torch.rand(6, rows, generator=draw) + 0.5


def count(inputs, deltas, **more):
    found = Step(losses=torch.zeros(6), shares=[share(inputs, deltas, **more)])
    return exposed(found)["hidden"]


def test_rows_that_all_images_share_give_none_away(inputs):
    assert count(inputs, shared_by_all()) == 0
    assert count(inputs, shared_by_all(), bias=False) == 0


@pytest.mark.parametrize("bias", [True, False])
def test_an_image_with_a_row_of_its_own_is_given_away(inputs, bias):
    deltas = shared_by_all()
    deltas[:, 3] = torch.tensor([0, 0, 0.7, 0, 0, 0])
    deltas[:, 9] = torch.tensor([0, 0, 0, 0, -0.2, 0])
    assert count(inputs, deltas, bias=bias) == 2
    found = distances(share(inputs, deltas, bias))
    assert found is not None
    assert found[[2, 4]].max() < 1e-3
    assert found[[0, 1, 3, 5]].min() > 0.5


def test_a_row_that_is_nearly_one_images_own_counts_and_half_a_row_does_not(inputs):
    nearly, half = shared_by_all(), shared_by_all()
    nearly[:, 3] = torch.tensor([0, 0.1, 1, 0, 0, 0])
    half[:, 3] = torch.tensor([0, 1.0, 1, 0, 0, 0])
    assert count(inputs, nearly) == 1
    assert count(inputs, half) == 0


def test_neighbouring_bins_of_an_imprint_are_read_by_their_difference(inputs):
    bins = torch.tril(torch.ones(6, 6))  # image k reaches bins 0 … k
    deltas = torch.cat([bins, shared_by_all(10) * 7], dim=1)
    assert count(inputs, deltas) == 6


def test_an_output_of_few_classes_is_not_read(inputs):
    assert distances(share(inputs, torch.eye(6)[:, :2])) is None


def test_a_row_without_a_slope_tells_nothing(inputs):
    assert count(inputs, torch.zeros(6, 16)) == 0


def test_images_that_reach_one_neuron_each_are_all_given_away():
    hidden = nn.Linear(64, 8)
    with torch.no_grad():
        hidden.weight.copy_(torch.eye(64)[:8])
        hidden.bias.fill_(-0.5)
    network = nn.Sequential(nn.Flatten(), hidden, nn.ReLU(), nn.Linear(8, 2))
    images = torch.eye(64)[:8].reshape(8, 1, 8, 8)
    step = rehearse(network, images, torch.tensor([0, 1] * 4))
    assert exposed(step)["1"] == 8
