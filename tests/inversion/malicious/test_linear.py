"""Tests of medleak.inversion.malicious.linear: gradients whose inputs are known."""

import pytest
import torch

from medleak.inversion.malicious.linear import between_rows, distinct, single_rows, thresholds


def test_a_row_that_one_input_reached_is_that_input():
    inputs, errors = torch.rand(2, 5), torch.tensor([[0.5, 0.0], [0.0, -2.0], [0.0, 0.0]])
    found = single_rows(errors @ inputs, errors.sum(1))
    assert torch.allclose(found, inputs, atol=1e-5)


def test_the_difference_of_neighbours_is_what_lies_between_their_thresholds():
    inputs = torch.rand(3, 5)
    reached = torch.tensor([[1.0, 1, 1], [0, 1, 1], [0, 0, 1], [0, 0, 1]]) * torch.tensor(
        [1.0, -2, 3]
    )
    found = between_rows(reached @ inputs, reached.sum(1))
    assert torch.allclose(found, inputs, atol=1e-5)


def test_the_most_frequent_come_first():
    a, b = torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 1, 0])
    found, counts = distinct(torch.stack([a, b, b * 1.00001, b]))
    assert counts.tolist() == [3, 1]
    assert torch.allclose(found[0], b, atol=1e-4)


def test_thresholds_rise_and_cut_evenly():
    values = torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    cuts = thresholds(values, 10)
    assert bool((cuts.diff() > 0).all())
    below = [(values < c).float().mean().item() for c in cuts]
    assert below == pytest.approx([(k + 0.5) / 10 for k in range(10)], abs=0.02)
