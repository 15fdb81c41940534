"""Tests of GradInversion."""

from collections.abc import Iterator

import pytest
import torch

from medleak.inversion.attacks import grad_inversion
from medleak.inversion.attacks.grad_inversion import GradInversion


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    """MONAI's networks draw their weights from the global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def attack(module, settings, observation, prior=None, seed=0, **kwargs):
    generator = torch.Generator().manual_seed(seed)
    return module.run(settings, observation, prior, generator=generator, **kwargs)


def test_seeds_of_a_group_are_drawn_together(observed, lenet_spec, smooth_images):
    """Yin et al., eq. 11: with a large weight the seeds end nearly equal."""
    observation = observed(smooth_images(2), torch.tensor([0, 1]), lenet_spec)
    apart, together = (
        attack(
            grad_inversion,
            GradInversion(iterations=60, seeds=3, group_weight=w, gradient_weight=0.01),
            observation,
        ).losses["group"]
        / w
        for w in (1e-3, 1e3)
    )
    assert together < 0.1 * apart


def test_images_of_later_seeds_are_put_in_the_first_seeds_order(observed, smooth_images):
    labels = torch.tensor([0, 0, 1])
    observation = observed(smooth_images(3), labels)
    schedule = grad_inversion.simulation_of(observation).schedule
    first = torch.rand(3, 1, 16, 16)
    images = torch.cat([first, first[[1, 0, 2]]])
    grad_inversion._align(images, 3, labels, schedule)
    torch.testing.assert_close(images[3:], first)
    other_label = torch.cat([first, first[[2, 1, 0]]])
    grad_inversion._align(other_label, 3, labels, schedule)
    torch.testing.assert_close(other_label[5], first[0])  # label 1 keeps its own image
