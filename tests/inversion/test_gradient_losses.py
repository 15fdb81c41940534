"""Tests of medleak.inversion.gradient_losses."""

import pytest
import torch

from medleak.inversion.gradient_losses import (
    MATCHES,
    layerwise_distance,
    relative_gradient_distance,
)

OBSERVED = [torch.tensor([3.0, 4.0]), torch.tensor([[12.0]])]


@pytest.mark.parametrize("name", MATCHES)
def test_every_distance_is_zero_where_gradients_agree_and_has_a_gradient_there(name):
    candidate = [t.clone().requires_grad_() for t in OBSERVED]
    loss = MATCHES[name](candidate, OBSERVED)
    assert float(loss.detach()) == pytest.approx(0, abs=1e-6)
    assert all(torch.isfinite(g).all() for g in torch.autograd.grad(loss, candidate))


@pytest.mark.parametrize("name", MATCHES)
def test_every_distance_grows_away_from_the_observed(name):
    near = [t + 0.1 * torch.tensor([1.0, -1.0])[: t.numel()].view_as(t) for t in OBSERVED]
    far = [t * torch.tensor([-1.0, 1.0])[: t.numel()].view_as(t) for t in OBSERVED]
    assert float(MATCHES[name](near, OBSERVED)) < float(MATCHES[name](far, OBSERVED))


def test_the_relative_distance_by_hand():
    candidate = [torch.tensor([0.0, 0.0]), torch.tensor([[12.0]])]
    assert float(relative_gradient_distance(candidate, OBSERVED)) == pytest.approx(5 / 13)
    zero = [torch.zeros_like(t) for t in OBSERVED]
    assert float(relative_gradient_distance(zero, OBSERVED)) == pytest.approx(1)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
def test_the_relative_distance_does_not_shrink_with_the_gradient(scale):
    """The published loss of a network that is sure of the label is 1e-8 everywhere."""
    candidate = [scale * (t + 1).double() for t in OBSERVED]
    observed = [scale * t.double() for t in OBSERVED]
    expected = float(relative_gradient_distance([t + 1 for t in OBSERVED], OBSERVED))
    assert float(relative_gradient_distance(candidate, observed)) == pytest.approx(expected)


def test_tmis_distance_sums_the_norms_of_the_layers():
    candidate = [torch.tensor([0.0, 0.0]), torch.tensor([[10.0]])]
    assert float(layerwise_distance(candidate, OBSERVED)) == pytest.approx(5 + 2)
