"""Tests of medleak.inversion.losses."""

import pytest
import torch
from torch.nn import functional

from medleak.inversion import losses
from medleak.inversion.losses import (
    MATCHES,
    layerwise_distance,
    relative_gradient_distance,
)

PAIR = (
    [torch.tensor([3.0, 0.0]), torch.tensor([[4.0]])],
    [torch.tensor([0.0, 0.0]), torch.tensor([[4.0]])],
)


@pytest.mark.parametrize(
    "loss",
    [
        losses.squared_distance,
        losses.cosine_distance,
        losses.layerwise_cosine_distance,
        losses.layerwise_relative_distance,
    ],
)
def test_gradient_losses_vanish_at_the_observed_gradient_and_have_a_gradient(loss):
    observed = [torch.randn(3, generator=torch.Generator().manual_seed(0)), torch.ones(2, 2)]
    assert loss([o.clone() for o in observed], observed).item() == pytest.approx(0, abs=1e-6)
    candidate = [(o + 1).requires_grad_(True) for o in observed]
    value = loss(candidate, observed)
    assert value.requires_grad
    assert value.item() > 1e-3


def test_distances_by_hand():
    candidate, observed = PAIR
    assert losses.squared_distance(candidate, observed).item() == 9
    assert losses.cosine_distance(candidate, observed).item() == pytest.approx(1 - 16 / (5 * 4))


@pytest.mark.parametrize("scale", [0.1, 7.0])
def test_cosine_distances_see_direction_only(scale):
    observed = [torch.tensor([1.0, -2.0]), torch.tensor([[3.0]])]
    scaled = [scale * o for o in observed]
    assert losses.cosine_distance(scaled, observed).item() == pytest.approx(0, abs=1e-6)
    assert losses.layerwise_cosine_distance(scaled, observed).item() == pytest.approx(0, abs=1e-6)


def test_relative_distance_does_not_see_the_scale_of_a_layer():
    a, b = torch.tensor([1.0, 2.0]), torch.tensor([2.0, 2.0])
    expected = 1 / 8**0.5
    assert losses.relative_distance(a, b).item() == pytest.approx(expected)
    assert losses.relative_distance(1e-3 * a, 1e-3 * b).item() == pytest.approx(expected, rel=1e-4)


def test_relative_distance_is_differentiable_at_the_truth():
    candidate = torch.ones(3, requires_grad=True)
    losses.relative_distance(candidate, torch.ones(3)).backward()
    assert candidate.grad is not None
    assert torch.equal(candidate.grad, torch.zeros(3))


def test_statistics_distance_is_the_mean_over_the_layers_that_were_seen():
    one, two = torch.tensor([2.0]), torch.tensor([4.0])
    observed = {"a": (one, two), "b": (one, two)}
    trusted = {"a": 1.0, "b": 0.0}
    pairs = {"a": (one, two), "b": (2 * one, two)}
    assert losses.statistics_distance(pairs, observed, trusted).item() == pytest.approx(0)
    half = losses.squared_statistics_distance(pairs, observed, {"a": 1.0, "b": 1.0})
    assert half.item() == losses.squared_statistics_distance(pairs, observed).item() > 0
    assert losses.statistics_distance({"a": (one, two)}, observed).item() == pytest.approx(0)
    found = losses.statistics_distance({"a": (one, two), "b": (2 * one, two)}, observed)
    assert found.item() == pytest.approx(0.5)


@pytest.mark.parametrize("candidate", [{}, {"c": (torch.ones(1), torch.ones(1))}])
def test_statistics_without_a_common_layer_are_an_error(candidate):
    with pytest.raises(ValueError, match="would be a constant"):
        losses.statistics_distance(candidate, {"a": (torch.ones(1), torch.ones(1))})


def test_total_variation_counts_steps_in_both_directions():
    image = torch.tensor([[0.0, 1.0], [0.0, 1.0]])[None, None]
    assert losses.total_variation(image).item() == 1
    assert losses.total_variation(image.mT).item() == 1
    assert losses.total_variation(torch.full((2, 3, 4, 4), 0.3)).item() == 0


def test_total_variation_of_a_volume_counts_all_three_axes():
    ramp = torch.arange(3.0)
    for axis in range(3):
        volume = ramp.view(*(-1 if k == axis else 1 for k in range(3))).expand(3, 3, 3)[None, None]
        assert losses.total_variation(volume).item() == 1
        assert losses.smooth_variation(volume, 0.0).item() == 1


def test_the_box_costs_outside_only():
    assert losses.outside_box(torch.tensor([0.0, 0.5, 1.0])).item() == 0
    assert losses.outside_box(torch.tensor([-1.0, 2.0])).item() == 1


@pytest.mark.parametrize("criterion", ["dice", "focal", "custom", "segmentation_cross_entropy"])
def test_a_loss_that_is_only_recorded_is_not_taken_for_another(criterion):
    with pytest.raises(ValueError, match=f"{criterion}.*not computed here"):
        losses.task_loss(criterion, torch.zeros(1, 2), torch.zeros(1, 2))


def test_task_losses_are_pytorchs():
    logits, labels = torch.tensor([[0.2, -1.0], [3.0, 1.0]]), torch.tensor([0, 1])
    assert losses.task_loss("cross_entropy", logits, labels) == functional.cross_entropy(
        logits, labels
    )
    one_hot = torch.eye(2)[labels]
    expected = functional.binary_cross_entropy_with_logits(logits, one_hot)
    assert losses.task_loss("bce", logits, labels) == expected
    assert losses.task_loss("bce", logits, one_hot) == expected


def test_bce_of_one_output_takes_class_1_as_positive():
    logits = torch.tensor([[2.0]])
    positive = losses.task_loss("bce", logits, torch.tensor([1]))
    assert positive < losses.task_loss("bce", logits, torch.tensor([0]))


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
