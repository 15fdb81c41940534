"""Tests of medleak.inversion.evidence.tokens.images."""

import pytest
import torch
from tests.inversion.evidence.tokens.networks import (
    OnAGrid,
    Timm,
    awake,
    monai_vit,
    pixels,
    torchvision_vit,
    update_of,
    variance_of,
)

from medleak.inversion.evidence.tokens.embedding import patch_embedding, projections
from medleak.inversion.evidence.tokens.images import Units, solve_image

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def solved(network, image, mean=MEAN, std=STD, steps=1):
    shape = (len(mean), *image.shape[2:])
    like = (1, -1, *[1] * len(image.shape[2:]))
    inputs = (image.expand(-1, len(mean), *image.shape[2:]) - torch.tensor(mean).view(like)) / (
        torch.tensor(std).view(like)
    )
    network = awake(network)
    (projection,) = projections(network, shape)
    embedding = patch_embedding(network, shape, projection)
    assert embedding is not None
    updates = [update_of(network, inputs) for _ in range(steps)]
    update = {name: torch.stack([u[name] for u in updates]).sum(0) for name in updates[0]}
    position, weight = (
        (update[name], variance_of(network, name))
        for name in (embedding.position, projection.weight)
    )
    units = Units(image_channels=image.shape[1], mean=mean, std=std)
    return solve_image(embedding, position, weight, torch.full_like(image, 0.5), units)


NETWORKS = {
    "torchvision": torchvision_vit,
    "monai": monai_vit,
    "perceptron": lambda: monai_vit(proj_type="perceptron"),
    "timm": Timm,
    "grid": OnAGrid,
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", NETWORKS)
def test_an_image_comes_back_from_one_step(kind, channels):
    torch.manual_seed(0)
    image = pixels((channels, 16, 16))
    found = solved(NETWORKS[kind](), image)

    assert float((found.image - image).abs().mean()) < 0.01
    assert found.unseen == 0
    assert found.patches.error < 0.02


def test_several_steps_on_one_image_are_as_good_as_one():
    torch.manual_seed(0)
    image = pixels((1, 16, 16))
    found = solved(monai_vit(), image, steps=3)

    assert float((found.image - image).abs().mean()) < 0.01


def test_a_volume_of_two_channels_comes_back():
    torch.manual_seed(0)
    image = pixels((2, 16, 8, 12))
    network = monai_vit(in_channels=2, img_size=image.shape[2:], spatial_dims=3)
    found = solved(network, image, mean=(0.3, 0.4), std=(0.2, 0.3))

    assert found.image.shape == image.shape
    assert float((found.image - image).abs().mean()) < 0.01


def test_pixels_that_no_patch_covers_stay_the_guess():
    torch.manual_seed(0)
    image = pixels((1, 18, 18))
    found = solved(monai_vit(img_size=(18, 18)), image)

    assert found.unseen == pytest.approx(1 - 16**2 / 18**2)
    assert torch.equal(found.image[..., 16:, :], torch.full((1, 1, 2, 18), 0.5))
    assert float((found.image - image)[..., :16, :16].abs().mean()) < 0.01
