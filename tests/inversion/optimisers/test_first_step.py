"""The first step of Adam undone: gradients come back as far as float32 lets them."""

import pytest
import torch
from torch import nn

from medleak.inversion.optimisers.first_step import (
    NotFirstStepError,
    read_first_step,
    shown_rate,
    undo,
)
from medleak.inversion.optimisers.rule import Rule

LR = 1e-3


def stepped(kind=torch.optim.Adam, *, size=4000, lr=LR, **settings):
    """(weights, update, gradient) of one parameter whose gradients are of all sizes."""
    generator = torch.Generator().manual_seed(0)
    exponents = torch.empty(size).uniform_(-9, 0, generator=generator)
    gradient = torch.randn(size, generator=generator).sign() * 10**exponents
    weights = 0.02 * torch.randn(size, generator=generator)
    parameter = nn.Parameter(weights.clone())
    optimizer = kind([parameter], lr=lr, **settings)
    parameter.grad = gradient
    optimizer.step()
    return weights, parameter.detach() - weights, gradient.double()


@pytest.mark.parametrize(
    ("kind", "rule", "settings"),
    [
        (torch.optim.Adam, Rule(name="adam", lr=LR), {}),
        (torch.optim.Adam, Rule(name="adam", lr=LR, eps=1e-6), {"eps": 1e-6}),
        (torch.optim.AdamW, Rule(name="adamw", lr=LR, weight_decay=0.1), {"weight_decay": 0.1}),
    ],
)
def test_known_entries_come_back_within_their_error(kind, rule, settings):
    weights, update, gradient = stepped(kind, **settings)
    found = undo(update, weights, rule)
    known = ~found.saturated
    assert known.double().mean() > 0.4
    off = ((found.gradient - gradient) / found.error)[known]
    # A bound on the shortfall is not symmetric in the gradient: hence more than 1.
    assert float(off.square().mean().sqrt()) < 2
    small = known & (gradient.abs() < 3e-5)
    torch.testing.assert_close(found.gradient[small], gradient[small], rtol=0.05, atol=1e-12)


def test_saturated_entries_keep_their_sign_and_a_lower_bound():
    weights, update, gradient = stepped()
    found = undo(update, weights, Rule(name="adam", lr=LR))
    saturated = found.saturated
    assert saturated.any()
    assert (found.sign[saturated] == gradient[saturated].sign()).all()
    # Two standard deviations of uniform rounding hold nearly always.
    bound = found.gradient[saturated].abs() <= gradient[saturated].abs()
    assert bound.double().mean() > 0.99
    assert torch.isinf(found.error[saturated]).all()


def test_decay_that_adam_adds_to_the_gradient_is_taken_off():
    weights, update, gradient = stepped(weight_decay=1e-5)
    found = undo(update, weights, Rule(name="adam", lr=LR, weight_decay=1e-5))
    near = ~found.saturated & (gradient.abs() > 1e-6) & (gradient.abs() < 1e-5)
    torch.testing.assert_close(found.gradient[near], gradient[near], rtol=0.05, atol=1e-9)


def test_the_update_shows_another_rate_than_declared():
    weights, update, _ = stepped(lr=1e-4, size=200_000)
    found = read_first_step({"w": update}, {"w": weights}, Rule(name="adam", lr=LR))
    assert found.declared == LR
    assert found.rule.lr == pytest.approx(1e-4, rel=2e-6)


def test_a_declared_rate_that_fits_is_kept_exactly():
    weights, update, _ = stepped(size=200_000)
    found = read_first_step({"w": update}, {"w": weights}, Rule(name="adam", lr=LR))
    assert found.rule.lr == LR
    assert found.declared is None
    assert found.noise == 0


def test_gradients_too_small_to_saturate_show_no_rate():
    weights, update = torch.zeros(1000), torch.linspace(0, 5e-4, 1000)
    assert shown_rate({"w": update}, {"w": weights}, Rule(name="adam", lr=LR)) is None


def test_noise_on_the_update_is_measured_and_counts():
    weights, update, _ = stepped(size=200_000)
    noise = 1e-5 * torch.randn(update.shape, generator=torch.Generator().manual_seed(1))
    found = read_first_step({"w": update + noise}, {"w": weights}, Rule(name="adam", lr=LR))
    assert found.noise == pytest.approx(1e-5, rel=0.2)
    wide = undo(update + noise, weights, found.rule, noise=found.noise)
    assert wide.saturated.sum() > undo(update, weights, found.rule).saturated.sum()


def test_several_steps_are_no_first_step():
    generator = torch.Generator().manual_seed(0)
    weights = 0.02 * torch.randn(4000, generator=generator)
    parameter = nn.Parameter(weights.clone())
    optimizer = torch.optim.Adam([parameter], lr=LR)
    for _ in range(3):
        parameter.grad = torch.randn(4000, generator=generator)
        optimizer.step()
    with pytest.raises(NotFirstStepError, match="more than adam's first step"):
        read_first_step(
            {"w": parameter.detach() - weights}, {"w": weights}, Rule(name="adam", lr=LR)
        )
