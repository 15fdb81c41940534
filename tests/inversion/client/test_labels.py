"""Tests of medleak.inversion.client.labels."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from medleak.inversion.client import labels as lb


def head_gradient(n, classes, criterion="cross_entropy", seed=0, spread=1.0):
    """Labels, features, outputs and head gradients of a batch, by autograd."""
    g = torch.Generator().manual_seed(seed)
    fc = nn.Linear(20, classes)
    with torch.no_grad():
        fc.weight.copy_(spread * torch.randn(classes, 20, generator=g))
        fc.bias.zero_()
    features = torch.rand(n, 20, generator=g)
    labels = torch.randint(max(classes, 2), (n,), generator=g)
    logits = fc(features)
    if criterion == "bce":
        hot = labels[:, None] if classes == 1 else F.one_hot(labels, classes)
        loss, outputs = F.binary_cross_entropy_with_logits(logits, hot.float()), logits.sigmoid()
    else:
        loss, outputs = F.cross_entropy(logits, labels), logits.softmax(1)
    weight, bias = torch.autograd.grad(loss, [fc.weight, fc.bias])
    return labels, features, outputs.detach(), weight, bias


@pytest.mark.parametrize("criterion", ["cross_entropy", "bce"])
@pytest.mark.parametrize("classes", [1, 2, 5])
@given(seed=st.integers(0, 500))
@settings(max_examples=15, deadline=None)
def test_the_sign_of_the_bias_gradient_is_the_label_of_one_image(criterion, classes, seed):
    if criterion == "cross_entropy" and classes == 1:
        return  # a softmax over one class has no gradient
    labels, _, _, _, bias = head_gradient(1, classes, criterion, seed)
    assert lb.label_of_one(bias).tolist() == labels.tolist()


@pytest.mark.parametrize("criterion", ["cross_entropy", "bce"])
@given(n=st.integers(1, 40), seed=st.integers(0, 500))
@settings(max_examples=25, deadline=None)
def test_counts_are_exact_when_the_mean_output_is(criterion, n, seed):
    labels, _, outputs, _, bias = head_gradient(n, 4, criterion, seed)
    counts = lb.label_counts(bias, outputs.mean(0), n, criterion)
    assert counts.tolist() == torch.bincount(labels, minlength=4).tolist()


def test_counts_of_a_single_bce_output_are_of_both_labels():
    labels, _, outputs, _, bias = head_gradient(9, 1, "bce", 3)
    counts = lb.label_counts(bias, outputs.mean(0), 9, "bce")
    assert counts.tolist() == torch.bincount(labels, minlength=2).tolist()


@given(n=st.integers(1, 30), seed=st.integers(0, 200))
@settings(max_examples=25, deadline=None)
def test_counts_from_a_poor_guess_still_add_up(n, seed):
    g = torch.Generator().manual_seed(seed)
    counts = lb.label_counts(torch.randn(5, generator=g), torch.rand(5), n, "cross_entropy")
    assert int(counts.sum()) == n
    assert int(counts.min()) >= 0


def test_counts_by_hand():
    # Four images, all p = (1/2, 1/2), three of label 0: g = (1/2 - 3/4, 1/2 - 1/4).
    counts = lb.label_counts(
        torch.tensor([-0.25, 0.25]), torch.tensor([0.5, 0.5]), 4, "cross_entropy"
    )
    assert counts.tolist() == [3, 1]


def test_labels_without_repeats_finds_the_set():
    g = torch.Generator().manual_seed(0)
    fc = nn.Linear(32, 10)
    truth = torch.tensor([7, 2, 5])
    loss = F.cross_entropy(fc(torch.rand(3, 32, generator=g)), truth)
    (weight,) = torch.autograd.grad(loss, [fc.weight])
    assert lb.labels_without_repeats(weight, 3).tolist() == [2, 5, 7]


def test_labels_without_repeats_refuses_more_images_than_classes():
    with pytest.raises(ValueError, match=r"n_images is 3 with 2 classes.*label_counts"):
        lb.labels_without_repeats(torch.ones(2, 4), 3)


@pytest.mark.parametrize("criterion", ["cross_entropy", "bce"])
@pytest.mark.parametrize("classes", [2, 5])
def test_least_squares_on_true_features_gives_one_hot_scores(criterion, classes):
    labels, features, outputs, weight, bias = head_gradient(8, classes, criterion, 1)
    scores = lb.labels_of_features(features, outputs, weight, bias, criterion)
    torch.testing.assert_close(scores, F.one_hot(labels, classes).float(), atol=1e-3, rtol=0)


def test_least_squares_shares_the_label_between_equal_features():
    feature, outputs = torch.tensor([[1.0, 2.0]]), torch.full((2, 2), 0.5)
    residual = outputs - torch.eye(2)  # one image of each label
    weight, bias = residual.mean(0)[:, None] * feature, residual.mean(0)
    weight, bias = weight + 0.1 * feature, bias + 0.1  # so that the gradient is not zero
    scores = lb.labels_of_features(feature.expand(2, -1), outputs, weight, bias, "cross_entropy")
    torch.testing.assert_close(scores, torch.full((2, 2), 0.4))


def test_least_squares_refuses_another_heads_gradient():
    _, features, outputs, weight, bias = head_gradient(2, 2)
    with pytest.raises(ValueError, match=r"weight_gradient has shape \(2, 19\), expected \(2, 20"):
        lb.labels_of_features(features, outputs, weight[:, 1:], bias, "cross_entropy")


def test_the_head_is_the_last_linear_layer():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2, 4), nn.Linear(4, 2))
    assert lb.head(model) == "3"
    with pytest.raises(ValueError, match=r"no nn\.Linear"):
        lb.head(nn.Conv2d(1, 2, 3))


@pytest.mark.parametrize(
    ("gradient", "message"),
    [
        (torch.zeros(3), "is zero"),
        (torch.tensor([1.0, float("nan")]), "NaN or inf"),
        (torch.ones(2, 2), "2 dimensions, expected 1"),
    ],
)
def test_a_gradient_without_a_label_in_it_is_refused(gradient, message):
    with pytest.raises(ValueError, match=message):
        lb.label_of_one(gradient)


def test_counts_refuse_a_mean_output_of_another_head():
    with pytest.raises(ValueError, match=r"mean_output has shape \(3,\)"):
        lb.label_counts(torch.ones(2), torch.ones(3), 4, "cross_entropy")
    with pytest.raises(ValueError, match="n_images must be at least 1, got 0"):
        lb.label_counts(torch.ones(2), torch.ones(2), 0, "cross_entropy")
