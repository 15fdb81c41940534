"""Tests of reading labels off an update once the images are known."""

import pytest
import torch
from tests.inversion.evidence.rounds import client, smooth

from medleak.inversion.attacks.row_space.read_labels import read_labels
from medleak.inversion.evidence.steps import client_steps
from medleak.inversion.knowledge import Knowledge


@pytest.mark.parametrize("label", [0, 1])
def test_the_label_of_one_image_is_the_sign_of_the_heads_bias(
    label, observed, resnet_spec, smooth_images
):
    truth = smooth_images()
    observation = observed(truth, torch.tensor([label]), resnet_spec)
    steps = client_steps(observation)
    found = read_labels(observation, torch.zeros_like(truth), steps)
    assert found is not None
    assert found.tolist() == [label], "the image itself does not matter"


@pytest.mark.parametrize("labels", [[0, 1], [1, 1], [1, 0]])
def test_labels_of_a_batch_follow_from_the_features_of_the_true_images(
    labels, observed, resnet_spec, smooth_images
):
    truth = smooth_images(2, seed=3)
    observation = observed(truth, torch.tensor(labels), resnet_spec)
    found = read_labels(observation, truth, client_steps(observation))
    assert found is not None
    assert found.tolist() == labels


def test_known_labels_are_given_to_the_images_that_they_fit(observed, resnet_spec, smooth_images):
    truth = smooth_images(2, seed=3)
    known = Knowledge(labels="known")
    observation = observed(truth, torch.tensor([0, 1]), resnet_spec, knowledge=known)
    steps = client_steps(observation)
    swapped = read_labels(observation, truth.flip(0), steps)
    assert swapped is not None
    assert swapped.tolist() == [1, 0]


@pytest.mark.parametrize("hidden", [False, True])
def test_labels_of_a_batch_whose_norms_were_frozen_are_read_in_evaluation_mode(hidden):
    labels, truth = [0, 1, 1, 0], smooth(4)
    observation = client(truth, torch.tensor(labels), frozen=True)
    steps, frozen = client_steps(observation), observation.frozen_norms
    assert frozen
    if hidden:  # the ranks of the convolutions tell then, see `Reading.frozen`
        unseen = Knowledge(bn_statistics=False)
        observation = client(truth, torch.tensor(labels), frozen=True, knowledge=unseen)
        steps = client_steps(observation)
    found = read_labels(observation, truth, steps, frozen=frozen)
    assert found is not None
    assert found.tolist() == labels
    if hidden:
        trained = read_labels(observation, truth, steps)
        assert trained is not None
        assert trained.tolist() != labels


@pytest.mark.parametrize("labels", [[0], [1], [1, 0], [1, 1]])
def test_labels_are_read_off_the_update(labels):
    truth = smooth(len(labels))
    observation = client(truth, torch.tensor(labels))
    found = read_labels(observation, truth, client_steps(observation))
    assert found is not None
    assert found.tolist() == labels
