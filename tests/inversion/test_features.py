"""Tests of medleak.inversion.features: the input of a convolution from its update alone."""

import pytest
import torch
from torch import Tensor, nn

from medleak.inversion.features import misaligned_share, recover_features
from medleak.inversion.row_space import row_space
from medleak.inversion.survey import ConvLayer, survey

SHAPE = (6, 5, 5)
RANK = 24  # positions less one


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
    found = recover_features(conv, row_space(update(network, x), RANK).basis, SHAPE)
    assert found is not None
    assert found.shape == SHAPE
    assert found.norm().item() == pytest.approx(1, abs=1e-5)
    assert torch.allclose(found, x[0] / x.norm(), atol=1e-4)


def test_little_noise_moves_it_little():
    conv, network = layer()
    x = features()
    clean = update(network, x)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(2))
    noisy = clean + 1e-3 * clean.square().mean().sqrt() * noise
    found = recover_features(conv, row_space(noisy, RANK).basis, SHAPE)
    assert found is not None
    assert float(misaligned_share(x, found)) < 1e-3


def test_nothing_comes_back_from_a_row_space_that_is_no_images():
    conv, _ = layer()
    noise = torch.randn(40, 6, 3, 3, generator=torch.Generator().manual_seed(3))
    assert recover_features(conv, row_space(noise, RANK).basis, SHAPE) is None


def test_nothing_comes_back_of_two_images_whose_mixtures_fit_as_well():
    conv, _ = layer()
    both = torch.cat([features(), features(1)])
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Conv2d(6, 60, 3, padding=1, bias=False), nn.BatchNorm2d(60))
    assert recover_features(conv, row_space(update(wide, both), 49).basis, SHAPE) is None


def test_strided_patches_share_too_little():
    conv, _ = layer(stride=2)
    assert recover_features(conv, torch.eye(8, conv.patch_size), SHAPE) is None


def test_misalignment_is_a_share_whatever_the_scale():
    direction = features()[0] / features().norm()
    assert float(misaligned_share(7 * features(), direction)) < 1e-12
    across = features(1)
    across = across - (across[0] * direction).sum() * direction
    assert float(misaligned_share(across, direction)) == pytest.approx(1)
    mixed = 3 * direction[None] + 4 * across / across.norm()
    assert float(misaligned_share(mixed, direction)) == pytest.approx(16 / 25, rel=1e-5)
