"""Tests of features: the input of a convolution from its update alone."""

import pytest
import torch
from torch import Tensor, nn

from medleak.inversion.evidence.algebra.features import (
    misaligned_share,
    recover_features,
    step_of_each,
)
from medleak.inversion.evidence.algebra.row_spaces import row_space
from medleak.inversion.evidence.layers import ConvLayer, survey

SHAPE = (6, 5, 5)
RANK = 24  # positions less one
WIDE = (24, 5, 5)


def layer(stride: int = 1) -> tuple[ConvLayer, nn.Sequential]:
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 40, 3, stride=stride, padding=1, bias=False)
    network = nn.Sequential(conv, nn.BatchNorm2d(40))
    return survey(network, torch.rand(2, *SHAPE)).convs[0], network


def features(seed: int = 0) -> Tensor:
    """As after a ReLU."""
    return torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(seed)).relu()


def update(network: nn.Sequential, x: Tensor) -> Tensor:
    out = network(x)
    generator = torch.Generator().manual_seed(1)
    loss = (out.tanh() * torch.randn(out.shape, generator=generator)).sum()
    loss.backward()
    gradient = next(network.parameters()).grad
    assert gradient is not None
    return gradient


@pytest.mark.parametrize("seed", range(3))
def test_the_input_of_a_convolution_comes_back_up_to_a_factor(seed):
    conv, network = layer()
    x = features(seed)
    found = recover_features(conv, row_space(update(network, x), RANK).basis, SHAPE, 1)
    assert found is not None
    assert found.shape == (1, *SHAPE)
    assert found.norm().item() == pytest.approx(1, abs=1e-5)
    assert torch.allclose(found, x / x.norm(), atol=1e-4)


def test_little_noise_moves_it_little():
    conv, network = layer()
    x = features()
    clean = update(network, x)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(2))
    noisy = clean + 1e-3 * clean.square().mean().sqrt() * noise
    found = recover_features(conv, row_space(noisy, RANK).basis, SHAPE, 1)
    assert found is not None
    assert float(misaligned_share(x, found)) < 1e-3


def test_nothing_comes_back_from_a_row_space_that_is_no_images():
    conv, _ = layer()
    noise = torch.randn(40, 6, 3, 3, generator=torch.Generator().manual_seed(3))
    assert recover_features(conv, row_space(noise, RANK).basis, SHAPE, 1) is None


@pytest.fixture
def two_steps():
    """Five images in steps of three and two: the convolution, their features, the update."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(24, 200, 3, padding=1, bias=False), nn.BatchNorm2d(200))
    conv = survey(network, torch.rand(2, *WIDE)).convs[0]
    noise = torch.randn(5, *WIDE, generator=torch.Generator().manual_seed(4))
    scale = torch.tensor([1.0, 2.0, 0.5, 1.5, 3.0])[:, None, None, None]
    maps = (noise - 0.3).relu() * scale
    update(network, maps[:3])
    return conv, maps, update(network, maps[3:])  # gradients add up


def matches(found: Tensor, maps: Tensor) -> list[int]:
    """Which of ``maps`` each found one is; fails where it is none."""
    cosines = found.flatten(1) @ nn.functional.normalize(maps.flatten(1)).T
    assert cosines.max(1).values.min() > 0.999
    return cosines.argmax(1).tolist()


def test_every_image_of_several_steps_comes_back(two_steps):
    conv, maps, change = two_steps
    basis = row_space(change, 5 * 25 - 2).basis
    found = recover_features(conv, basis, WIDE, 5)
    assert found is not None
    assert sorted(matches(found, maps)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("claimed", [4, 6])
def test_a_wrong_number_of_images_gives_none(two_steps, claimed):
    conv, _, change = two_steps
    assert recover_features(conv, row_space(change, 123).basis, WIDE, claimed) is None


@pytest.mark.parametrize("sizes", [[3, 2], [2, 3]])
def test_who_shared_a_step_shows(two_steps, sizes):
    conv, maps, change = two_steps
    basis = row_space(change, 123).basis
    order = [3, 0, 4, 2, 1]
    groups = step_of_each(conv, basis, maps[order], sizes)
    assert groups is not None
    assert [len(group) for group in groups] == sizes
    shared = {frozenset(order[i] for i in group) for group in groups}
    assert shared == {frozenset({0, 1, 2}), frozenset({3, 4})}


def test_sizes_that_no_grouping_has_tell_nothing(two_steps):
    conv, maps, change = two_steps
    assert step_of_each(conv, row_space(change, 123).basis, maps, [4, 1]) is None


def test_maps_that_cross_zero_stay_mixed():
    """As of the first convolution, whose input no ReLU has passed: mixtures fit as well."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(6, 60, 3, padding=1, bias=False), nn.BatchNorm2d(60))
    conv = survey(network, torch.rand(2, *SHAPE)).convs[0]
    both = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(5))
    assert recover_features(conv, row_space(update(network, both), 49).basis, SHAPE, 2) is None


def test_misalignment_is_free_of_each_maps_scale():
    both = torch.cat([features(), features(1)])
    directions = both / both.flatten(1).norm(dim=1)[:, None, None, None]
    scaled = both * torch.tensor([1.0, 9.0])[:, None, None, None]
    assert float(misaligned_share(scaled, directions)) < 1e-12
    assert float(misaligned_share(scaled, directions.flip(0))) > 0.1


def test_strided_patches_share_too_little():
    conv, _ = layer(stride=2)
    assert recover_features(conv, torch.eye(8, conv.patch_size), SHAPE, 1) is None


def test_misalignment_is_a_share_whatever_the_scale():
    direction = features() / features().norm()
    assert float(misaligned_share(7 * features(), direction)) < 1e-12
    across = features(1)
    across = across - (across * direction).sum() * direction
    assert float(misaligned_share(across, direction)) == pytest.approx(1)
    mixed = 3 * direction + 4 * across / across.norm()
    assert float(misaligned_share(mixed, direction)) == pytest.approx(16 / 25, rel=1e-5)
