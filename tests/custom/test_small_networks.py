"""Tests of medleak.custom.small_networks."""

import pytest
import torch
from torch import nn

from medleak.custom.small_networks import cnn4, lenet, strided_cnn


@pytest.mark.parametrize(("make", "convolutions"), [(lenet, 3), (cnn4, 4)])
def test_the_layers_are_the_papers(make, convolutions):
    network = make(num_classes=4)
    kinds = [type(m) for m in network]
    assert isinstance(network[-1], nn.Linear)
    assert kinds.count(nn.Conv2d) == kinds.count(nn.Sigmoid) == convolutions
    assert network[-1].in_features == 768
    assert network(torch.rand(2, 3, 32, 32)).shape == (2, 4)


@pytest.mark.parametrize("make", [lenet, cnn4])
def test_weights_fill_the_published_range(make):
    values = torch.cat([p.detach().flatten() for p in make().parameters()])
    assert -0.5 <= float(values.min()) < -0.49
    assert 0.49 < float(values.max()) <= 0.5


def test_the_seed_decides_and_the_global_state_does_not():
    before = torch.random.get_rng_state()
    first, second, other = lenet(seed=1), lenet(seed=1), lenet(seed=2)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first.state_dict()["0.weight"], second.state_dict()["0.weight"])
    assert not torch.equal(first.state_dict()["0.weight"], other.state_dict()["0.weight"])


@pytest.mark.parametrize("size", [29, 64])
def test_other_image_sizes_fit(size):
    assert cnn4(spatial_size=size)(torch.rand(1, 3, size, size)).shape == (1, 2)


def test_a_network_without_outputs_is_refused():
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        lenet(num_classes=0)


@pytest.mark.parametrize("size", [30, 64])
def test_the_network_with_strides_is_fedavgs_without_pooling(size):
    network = strided_cnn(3, size)
    assert network(torch.rand(2, 3, size, size)).shape == (2, 3)
    widths = [m.weight.shape[0] for m in network if isinstance(m, nn.Conv2d | nn.Linear)]
    assert widths == [32, 64, 256, 3]
    again = strided_cnn(3, size).state_dict()
    assert torch.equal(again["0.weight"], network.state_dict()["0.weight"])
    with pytest.raises(ValueError, match="hidden must be at least 1, got 0"):
        strided_cnn(hidden=0)
