"""Tests of medleak.inversion.client.rounding."""

import pytest
import torch

from medleak.inversion.client.rounding import precision

LR = 0.01


def trained(gradient, seed=0):
    """Weights, and the update that float32 SGD makes of ``gradient``."""
    weights = torch.rand(gradient.shape, generator=torch.Generator().manual_seed(seed)) - 0.5
    return weights, (weights - LR * gradient) - weights


def observed(update):
    return [-update.double() / LR]


@pytest.mark.parametrize("size", [1e-5, 1e-3, 0.1])
def test_the_floor_is_the_distance_at_the_true_gradient(size):
    gradient = size * torch.randn(20_000, generator=torch.Generator().manual_seed(1))
    weights, update = trained(gradient)
    known = precision([weights], [update], observed(update), LR)
    at_the_truth = float(known.distance([gradient.double()], observed(update)))
    assert at_the_truth == pytest.approx(known.floor, rel=0.1, abs=1e-6)


def test_weights_near_zero_are_trusted_more_where_rounding_matters():
    gradient = torch.full((3,), 1e-5)
    weights = torch.tensor([0.4, 0.01, 1e-6])
    update = (weights - LR * gradient) - weights
    (trust,) = precision([weights], [update], observed(update), LR).weights
    assert trust[0] < trust[1] < trust[2]


def test_large_gradients_are_weighed_alike():
    gradient = torch.tensor([3.0, -5.0, 4.0])
    weights, update = trained(gradient)
    known = precision([weights], [update], observed(update), LR)
    torch.testing.assert_close(known.weights[0] / known.weights[0][0], torch.ones(3).double())
    assert known.floor < 1e-5


def test_an_update_with_noise_is_weighed_alike():
    gradient = 1e-5 * torch.randn(1000, generator=torch.Generator().manual_seed(1))
    weights, update = trained(gradient)
    noisy = update + 1e-6 * torch.randn(1000, generator=torch.Generator().manual_seed(2))
    known = precision([weights], [noisy], observed(noisy), LR)
    assert known.floor == 0
    assert float(known.weights[0].std()) == 0


def test_the_distance_is_zero_and_differentiable_where_gradients_agree():
    gradient = torch.randn(10, generator=torch.Generator().manual_seed(1))
    weights, update = trained(gradient)
    known = precision([weights], [update], observed(update), LR)
    candidate = observed(update)[0].requires_grad_()
    loss = known.distance([candidate], observed(update))
    assert float(loss.detach()) == pytest.approx(0, abs=1e-9)
    assert torch.isfinite(torch.autograd.grad(loss, candidate)[0]).all()
