"""Tests of medleak.filters.adapters.noise: parameters or targets."""

import pytest

from medleak.filters.adapters import ClippedGaussian, ClippedLaplace
from medleak.filters.privacy import accounting

TARGETS = {"target_epsilon": 8.0, "target_delta": 1e-5, "rounds": 30}


@pytest.mark.parametrize("cls", [ClippedGaussian, ClippedLaplace])
def test_targets_give_the_noise_that_meets_them(cls, site, update, global_state):
    filter_ = cls(max_grad_norm=1.0, **TARGETS)
    sent = site.send(filter_, site.result(update), global_state)
    (declared,) = sent.meta["medleak_defences"]
    multiplier = declared["args"]["noise_multiplier"] / 2
    kind = "Gaussian" if cls is ClippedGaussian else "Laplace"
    event = {"event": kind, "noise_multiplier": multiplier}
    assert accounting.epsilon([event] * 30, 1e-5) == pytest.approx(8.0, rel=1e-3)


@pytest.mark.parametrize("cls", [ClippedGaussian, ClippedLaplace])
@pytest.mark.parametrize(
    "args",
    [
        {},
        {"target_epsilon": 8.0},
        {"target_epsilon": 8.0, "target_delta": 1e-5},
        {"noise_multiplier": 1.0, **TARGETS},
        {"noise_multiplier": 1.0, "rounds": 3},
        {**TARGETS, "rounds": 0},
    ],
)
def test_half_a_target_or_both_are_refused(cls, args):
    with pytest.raises(ValueError, match="Give either noise_multiplier or all of"):
        cls(max_grad_norm=1.0, **args)


@pytest.mark.parametrize(("metrics", "left"), [("drop", False), ("pass", True)])
def test_metrics_follow_the_policy(metrics, left, site, update, global_state):
    filter_ = ClippedGaussian(max_grad_norm=1, noise_multiplier=1, metrics=metrics)
    sent = site.send(filter_, site.result(update, initial_metrics={"auc": 0.9}), global_state)
    assert ("initial_metrics" in sent.meta) == left
    with pytest.raises(ValueError, match="metrics must be one of pass, drop"):
        ClippedGaussian(max_grad_norm=1, noise_multiplier=1, metrics="noise")
