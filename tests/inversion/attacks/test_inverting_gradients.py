"""Tests of Inverting Gradients; its contract is that of all attacks that match an update."""

import pytest
import torch

from medleak.inversion.attacks.inverting_gradients import InvertingGradients, run
from medleak.inversion.losses import total_variation


def attack(settings, observation, prior=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return run(settings, observation, prior, generator=generator)


def test_settings_are_the_papers_by_default():
    settings = InvertingGradients()
    assert (settings.iterations, settings.lr, settings.decay) == (4800, 0.1, "steps")
    assert settings.match == "cosine"
    assert settings.signed


def test_more_weight_on_total_variation_gives_a_smoother_image(observed, smooth_images):
    observation = observed(smooth_images(seed=1), torch.tensor([1]))
    rough, smooth = (
        attack(InvertingGradients(iterations=60, variation=w), observation).images
        for w in (0.0, 1.0)
    )
    assert float(total_variation(smooth)) < 0.5 * float(total_variation(rough))


def test_adam_on_signs_takes_another_way_than_on_gradients(observed, smooth_images):
    observation = observed(smooth_images(seed=1), torch.tensor([1]))
    signed, plain = (
        attack(InvertingGradients(iterations=5, signed=s), observation) for s in (True, False)
    )
    assert not torch.equal(signed.images, plain.images)


def test_a_start_from_the_prior_begins_nearer_than_one_from_noise(observed, smooth_images):
    truth = smooth_images(seed=1)
    observation = observed(truth, torch.tensor([1]))
    near, far = (
        attack(InvertingGradients(iterations=1, start=s), observation, truth).history[0]
        for s in ("prior", "normal")
    )
    assert float(near) < float(far)


@pytest.mark.parametrize("name", ["squared", "relative", "cosine"])
def test_every_distance_of_updates_can_be_matched(name, observed, smooth_images):
    observation = observed(smooth_images(), torch.tensor([0]))
    found = attack(InvertingGradients(iterations=10, match=name), observation)
    assert torch.isfinite(found.images).all()
