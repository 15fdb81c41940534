"""A rule's differentiable steps are those of PyTorch's optimisers."""

import pytest
import torch
from torch import nn

from medleak.inversion.optimisers.rule import Rule, rule_named


@pytest.mark.parametrize(
    ("rule", "reference"),
    [
        (Rule(lr=0.1), lambda p: torch.optim.SGD(p, lr=0.1)),
        (
            Rule(lr=0.1, momentum=0.9, weight_decay=0.01),
            lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
        ),
        (
            Rule(name="adam", lr=0.01, weight_decay=0.1, betas=(0.8, 0.99), eps=1e-6),
            lambda p: torch.optim.Adam(p, 0.01, (0.8, 0.99), 1e-6, 0.1),
        ),
        (
            Rule(name="adamw", lr=0.01, weight_decay=0.1),
            lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
        ),
    ],
)
def test_steps_equal_pytorchs(rule, reference):
    weights = [nn.Parameter(torch.randn(3, 2, dtype=torch.float64)) for _ in range(2)]
    optimizer = reference(weights)
    state = [torch.zeros_like(w) for w in weights] * rule.moments
    for number in range(4):
        gradient = [torch.randn_like(w) for w in weights]
        before = [w.detach().clone() for w in weights]
        for weight, g in zip(weights, gradient, strict=True):
            weight.grad = g.clone()
        optimizer.step()
        moved, state = rule.step(gradient, before, state, number)
        for weight, old, change in zip(weights, before, moved, strict=True):
            torch.testing.assert_close(old + change, weight.detach(), rtol=1e-9, atol=1e-12)


def test_clipping_equals_pytorchs():
    weight = nn.Parameter(torch.zeros(4))
    weight.grad = torch.tensor([3.0, 4.0, 0.0, 0.0])
    gradient = [weight.grad.clone()]
    nn.utils.clip_grad_norm_([weight], 1.0)
    moved, _ = Rule(lr=1.0, clip_norm=1.0).step(gradient, [torch.zeros(4)], [], 0)
    torch.testing.assert_close(moved[0], -weight.grad)


def test_a_schedule_scales_the_step():
    moved, _ = Rule(lr=0.1).step([torch.ones(2)], [torch.zeros(2)], [], 0, rate=0.5)
    torch.testing.assert_close(moved[0], torch.full((2,), -0.05))


def test_steps_can_be_differentiated_at_a_gradient_of_zero():
    gradient = torch.zeros(2, requires_grad=True)
    moved, _ = Rule(name="adam", lr=0.1).step([gradient], [torch.zeros(2)], [torch.zeros(2)] * 2, 0)
    (slope,) = torch.autograd.grad(moved[0].sum(), gradient)
    assert torch.isfinite(slope).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"lr": 0.0},
        {"lr": 0.1, "momentum": 1.0},
        {"lr": 0.1, "weight_decay": -1.0},
        {"lr": 0.1, "betas": (1.0, 0.9)},
        {"lr": 0.1, "clip_norm": 0.0},
    ],
)
def test_settings_that_no_client_has_are_refused(wrong):
    with pytest.raises(ValueError, match=r"must be"):
        Rule(**wrong)


def test_an_unknown_optimizer_is_refused():
    with pytest.raises(ValueError, match="lion"):
        rule_named("lion", lr=0.1)
