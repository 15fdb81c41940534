"""Tests of one local step seen as its gradient."""

import pytest
import torch
from tests.inversion.evidence.rounds import saying

from medleak.inversion.client.single_step import single_step
from medleak.inversion.knowledge import Knowledge, KnowledgeError


@pytest.mark.parametrize("change", [{}, {"weight_decay": 0.01}, {"criterion": "bce"}])
def test_the_gradient_of_the_true_image_is_the_observed_one(change, observed, smooth_images):
    truth, label = smooth_images(seed=1), torch.tensor([1])
    step = single_step(observed(truth, label, **change))
    assert step.shape == truth.shape
    found = step.gradient_of(truth.double(), label)
    assert all(g.dtype == torch.float64 for g in found)
    for name in ("relative", "weighted"):
        assert float(step.distance(name, truth.double(), label).detach()) < 1e-5
    wrong = float(step.distance("relative", 1 - truth.double(), label).detach())
    assert wrong > 0.01


def test_a_first_step_of_adam_is_undone_and_another_is_refused(observed, smooth_images):
    truth, label, lr = smooth_images(seed=1), torch.tensor([1]), 0.1

    def adam(name, value):
        return (value.double() / ((value.double() / lr).abs() + 1e-8)).float()

    step = single_step(saying(observed(truth, label, change=adam, lr=lr), optimizer="adam"))
    assert float(step.distance("weighted", truth.double(), label).detach()) < 0.01
    assert float(step.distance("weighted", 1 - truth.double(), label).detach()) > 0.1
    assert step.labels(truth).tolist() == [1]
    kept = saying(observed(truth, label, change=adam, lr=lr), optimizer="adam", lr=lr / 3)
    with pytest.raises(ValueError, match="no first step of adam"):
        single_step(saying(observed(truth, label, lr=lr), optimizer="adam", lr=1e-6))
    assert single_step(kept).gradient  # the update shows its own rate


@pytest.mark.parametrize("label", [0, 1])
def test_the_label_of_one_image_is_read_from_the_head(label, observed, smooth_images):
    step = single_step(observed(smooth_images(), torch.tensor([label])))
    assert step.labels(torch.rand(step.shape)).tolist() == [label]


def test_labels_of_several_images_are_counted_and_known_ones_kept(observed, smooth_images):
    labels = torch.tensor([1, 0, 1])
    truth = smooth_images(3, seed=2)
    step = single_step(observed(truth, labels))
    assert sorted(step.labels(truth).tolist()) == [0, 1, 1]
    known = single_step(observed(truth, labels, knowledge=Knowledge(labels="known")))
    assert known.labels(truth).tolist() == [1, 0, 1]


def test_outputs_are_probabilities(observed, smooth_images):
    truth = smooth_images(2)
    step = single_step(observed(truth, torch.tensor([0, 1])))
    torch.testing.assert_close(
        step.outputs_of(truth.double()).sum(1), torch.ones(2, dtype=torch.float64)
    )


def test_the_sum_of_several_steps_is_refused(observed, smooth_images):
    with pytest.raises(ValueError, match="holds 3 local steps"):
        single_step(observed(smooth_images(), torch.tensor([0]), epochs=3))
    with pytest.raises(KnowledgeError):
        single_step(observed(smooth_images(), torch.tensor([0]), knowledge=Knowledge(lr=False)))
