"""Tests of medleak.custom.networks.architectures, by the names that records keep."""

import pytest
import torch
from torch import nn

from medleak.custom.networks import (
    WeightsError,
    densenet121,
    densenet121_groupnorm,
    load_weights,
    resnet18,
    resnet18_cifar,
    resnet18_groupnorm,
    unet,
)


def equal(a, b):
    return all(torch.equal(a[k], b[k]) for k in a)


def test_the_seed_decides_the_random_weights_and_nothing_else_moves():
    state = torch.random.get_rng_state()
    a, b, c = resnet18(seed=1), resnet18(seed=1), resnet18(seed=2)
    assert equal(a.state_dict(), b.state_dict())
    assert not equal(a.state_dict(), c.state_dict())
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("size", [64, 224])
def test_small_and_large_images_pass(size):
    assert resnet18(num_classes=3).eval()(torch.zeros(2, 3, size, size)).shape == (2, 3)


@pytest.fixture
def other():
    return {k: v.clone() for k, v in resnet18(num_classes=13, seed=5).state_dict().items()}


def test_weights_of_another_network_are_refused_by_name(other):
    del other["features.layer1.0.conv1.weight"]
    with pytest.raises(WeightsError, match=r"'features\.layer1\.0\.conv1\.weight' is missing"):
        load_weights(resnet18(), other)
    other["features.layer1.0.conv1.weight"] = torch.zeros(1)
    with pytest.raises(WeightsError, match=r"has shape \(1,\), needed \(64, 64, 3, 3\)"):
        load_weights(resnet18(), other)


def test_group_norm_takes_the_place_of_batch_norm_and_nothing_else_changes():
    batch, group = resnet18(3, seed=1), resnet18_groupnorm(3, seed=1)
    assert not list(group.buffers())
    assert not [m for m in group.modules() if isinstance(m, nn.BatchNorm2d)]
    parameters = dict(group.named_parameters())
    assert list(parameters) == [name for name, _ in batch.named_parameters()]
    assert equal(parameters, batch.state_dict())
    groups = {m.num_channels: m.num_groups for m in group.modules() if isinstance(m, nn.GroupNorm)}
    assert groups == {64: 32, 128: 32, 256: 32, 512: 32}
    assert group(torch.zeros(1, 3, 33, 33)).shape == (1, 3)


def test_with_group_norm_an_image_is_judged_alone():
    net = resnet18_groupnorm().train()
    images = torch.rand(3, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(net(images)[:1], net(images[:1]), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("factory", "size", "shape"),
    [
        (resnet18_cifar, 32, (1, 3)),
        (densenet121_groupnorm, 64, (1, 3)),
        (unet, 32, (1, 3, 32, 32)),
    ],
)
def test_one_image_of_the_least_size_can_be_trained_on(factory, size, shape):
    assert factory(num_classes=3).train()(torch.rand(1, 3, size, size)).shape == shape


@pytest.mark.parametrize("factory", [resnet18_cifar, densenet121, unet])
def test_equal_seeds_give_equal_networks(factory):
    state = torch.random.get_rng_state()
    first, again, other = (factory(seed=seed).state_dict() for seed in (1, 1, 2))
    assert equal(first, again)
    assert not equal(first, other)
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("network", "layer", "buffers"),
    [
        (lambda: densenet121(), nn.BatchNorm2d, True),
        (lambda: densenet121_groupnorm(), nn.GroupNorm, False),
        (lambda: unet(), nn.BatchNorm2d, True),
        (lambda: unet(norm="instance"), nn.InstanceNorm2d, False),
        (lambda: unet(norm="group"), nn.GroupNorm, False),
    ],
)
def test_only_batch_norm_has_statistics_to_send(network, layer, buffers):
    made = network()
    norms = {type(m) for m in made.modules() if isinstance(m, nn.modules.batchnorm._NormBase)}
    norms |= {type(m) for m in made.modules() if isinstance(m, nn.GroupNorm)}
    assert norms == {layer}
    assert bool(list(made.buffers())) == buffers


def test_an_unknown_norm_is_refused_by_name():
    with pytest.raises(ValueError, match="norm must be batch, instance or group, got 'layer'"):
        unet(norm="layer")  # pyright: ignore[reportArgumentType]


def test_a_head_of_another_size_is_left_out_of_any_network():
    source, target = densenet121(5, seed=1), densenet121(2, seed=2)
    own = target.state_dict()["class_layers.out.weight"].clone()
    loaded = load_weights(target, source.state_dict()).state_dict()
    assert torch.equal(loaded["class_layers.out.weight"], own)
    assert torch.equal(
        loaded["features.conv0.weight"], source.state_dict()["features.conv0.weight"]
    )
