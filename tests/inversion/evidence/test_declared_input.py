"""Tests of medleak.inversion.evidence.declared_input: a wrong normalisation is contradicted."""

import pytest
import torch
import torchvision
from tests.inversion.measures.films import films

from medleak.custom.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from medleak.custom.networks import resnet18
from medleak.inversion.attacks.reconstruct import observe_update
from medleak.inversion.evidence.declared_input import contradiction

pytestmark = pytest.mark.slow

IMAGENET = (IMAGENET_MEAN, IMAGENET_STD)
PIXELS = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def observed(used, declared, images=None, noise=0.0, network=None, channels=1):
    """One step on ``images`` that are normalised as ``used``, recorded as ``declared``."""
    torch.manual_seed(0)
    network = network or resnet18()
    mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in used)
    images = films(2) if images is None else images
    sent = {k: v.clone() for k, v in network.state_dict().items()}
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    network.train()
    x = (images.expand(-1, mean.shape[1], -1, -1) - mean) / std
    network(x).square().mean().backward()
    optimizer.step()
    update = {k: v.float() - sent[k].float() for k, v in network.state_dict().items()}
    for name, value in update.items():
        if name.endswith("running_mean"):
            value += noise * torch.randn_like(value)
    network.load_state_dict(sent)
    return observe_update(
        network, update, spatial_size=(64, 64), n_images=len(images), channels=channels,
        mean=declared[0], std=declared[1],
    )  # fmt: skip


@pytest.mark.parametrize("norm", [IMAGENET, PIXELS, HALF])
@pytest.mark.parametrize("modality", ["cxr", "brain_mri"])
def test_a_right_declaration_is_not_contradicted(norm, modality):
    images = films(2) if modality == "cxr" else films(2).square()
    assert not contradiction(observed(norm, norm, images))


def test_a_wrong_one_is_and_the_one_that_fits_is_named():
    text = contradiction(observed(IMAGENET, PIXELS))
    assert (
        "normalised with mean (0, 0, 0) and std (1, 1, 1), as the attack takes them to be" in text
    )
    assert "they fit mean (0.485, 0.456, 0.406) and std (0.229, 0.224, 0.225)" in text
    assert contradiction(observed(IMAGENET, HALF))
    assert contradiction(observed(PIXELS, IMAGENET))


def test_a_mean_outside_of_what_pixels_can_be_is_seen_with_one_channel_and_in_colour():
    dark = films(2) * 0.3
    first = torchvision.models.resnet18(num_classes=2)
    first.conv1 = torch.nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    one = (((0.5,), (0.5,)), ((0.0,), (1.0,)))
    assert contradiction(observed(*one, images=dark, network=first))
    colour = dark.expand(-1, 3, -1, -1)
    assert contradiction(observed(IMAGENET, PIXELS, images=colour, channels=3))
    assert not contradiction(observed(IMAGENET, IMAGENET, images=colour, channels=3))


def test_noise_that_hides_the_statistics_contradicts_nothing():
    for noise in (1.0, 10.0):
        assert not contradiction(observed(IMAGENET, IMAGENET, noise=noise))
        assert not contradiction(observed(IMAGENET, PIXELS, noise=10 * noise))


def test_without_statistics_or_a_linear_start_nothing_is_said():
    bare = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Flatten(), torch.nn.LazyLinear(2))
    bare(torch.zeros(1, 3, 64, 64))
    assert not contradiction(observed(IMAGENET, PIXELS, network=bare))
    bent = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.BatchNorm2d(8),
        torch.nn.Flatten(), torch.nn.LazyLinear(2),
    )  # fmt: skip
    bent(torch.zeros(1, 3, 64, 64))
    assert not contradiction(observed(IMAGENET, PIXELS, network=bent))
