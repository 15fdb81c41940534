import pytest
import torch
from monai.networks.nets.resnet import ResNet
from torch import nn

from medleak.inversion.membership.layers import (
    PatchLayer,
    patch_layers,
    patches,
    patches_of,
    telling_layers,
)


def random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (nn.Conv2d(3, 5, 3, stride=2, padding=1, bias=False), random(2, 3, 9, 7)),
        (nn.Conv2d(3, 5, (3, 5), padding=(0, 2), dilation=(2, 1), bias=False), random(2, 3, 9, 8)),
        (nn.Conv2d(3, 5, (3, 5), padding="same", dilation=2, bias=False), random(2, 3, 8, 8)),
        (nn.Conv2d(3, 5, 3, padding="valid", bias=False), random(2, 3, 8, 8)),
        (nn.Conv3d(2, 4, 3, stride=(1, 2, 1), padding=1, bias=False), random(2, 2, 5, 6, 7)),
        (nn.Conv3d(2, 4, 2, dilation=2, bias=False), random(1, 2, 5, 6, 7)),
        (nn.Linear(6, 4, bias=False), random(2, 5, 6)),
    ],
)
def test_a_layers_output_is_its_weight_times_the_patches(layer, x):
    found = patches_of(layer, x) @ layer.weight.flatten(1).T
    wanted = layer(x)
    wanted = wanted if isinstance(layer, nn.Linear) else wanted.flatten(2).transpose(1, 2)
    assert torch.allclose(found, wanted, atol=1e-5)


def test_grouped_layers_and_those_that_run_twice_or_see_one_position_are_left_out():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.plain = nn.Conv2d(4, 4, 3)
            self.grouped = nn.Conv2d(4, 4, 3, padding=1, groups=2)
            self.twice = nn.Conv2d(4, 4, 3, padding=1)
            self.head = nn.Linear(4, 2)

        def forward(self, x):
            x = self.twice(self.twice(self.grouped(self.plain(x))))
            return self.head(x.mean((2, 3)))

    found = patch_layers(Net(), torch.zeros(1, 4, 6, 6))
    assert [(f.name, f.positions, f.patch_size) for f in found] == [("plain", 16, 36)]


def test_those_are_chosen_that_have_most_room_for_images_and_more_columns_than_rows():
    def layer(name, rows, columns, positions):
        return PatchLayer(name=name, out_features=rows, patch_size=columns, positions=positions)

    layers = [
        layer("early", 64, 576, 256),
        layer("wide", 512, 256, 4),
        layer("first", 512, 2304, 4),
        layer("second", 512, 4608, 4),
    ]
    assert [f.name for f in telling_layers(layers, 2)] == ["first", "second"]
    assert [f.name for f in telling_layers(layers)] == ["early", "first", "second"]


def test_patches_are_centred_in_their_image_and_the_network_is_left_as_it_was():
    network = ResNet("basic", [1, 1, 1, 1], [4, 4, 4, 4], spatial_dims=2, n_input_channels=3).eval()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    x = random(20, 3, 32, 32)
    layers = patch_layers(network, x[:1])
    found = patches(network, x, layers)
    assert set(found) == {f.name for f in layers}
    for layer in layers:
        assert found[layer.name].shape == (20, layer.positions, layer.patch_size)
        assert float(found[layer.name].mean(1).abs().max()) < 1e-5
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert not any(m._forward_pre_hooks for m in network.modules())


class _OneToken(nn.Module):
    """Two linear layers over tokens, of which the class is read off the first alone."""

    def __init__(self):
        super().__init__()
        self.mixed = nn.Linear(12, 8)
        self.read = nn.Linear(8, 4)

    def forward(self, x):
        tokens = self.mixed(x.reshape(len(x), 5, 12))
        tokens = tokens + tokens.mean(1, keepdim=True)
        return self.read(tokens)[:, 0]


def test_of_tokens_only_those_count_that_a_signal_comes_back_to():
    torch.manual_seed(0)
    network, x = _OneToken().requires_grad_(False), torch.rand(3, 60)
    layers = {layer.name: layer for layer in patch_layers(network, x[:1])}
    assert (layers["mixed"].live, layers["mixed"].positions) == (None, 5)
    assert (layers["read"].live, layers["read"].positions) == ((0,), 1)
    assert [layer.name for layer in telling_layers(list(layers.values()))] == ["mixed", "read"]
    seen = patches(network, x, list(layers.values()))
    assert seen["read"].shape == (3, 1, 8)
    tokens = network.mixed(x.reshape(3, 5, 12))
    torch.testing.assert_close(seen["read"], (tokens + tokens.mean(1, keepdim=True))[:, :1])
    assert seen["mixed"].mean(1).abs().max() < 1e-6


def test_beside_a_single_token_layers_with_little_room_are_left_out():
    token = PatchLayer(name="token", out_features=64, patch_size=256, positions=1, live=(0,))
    wide = PatchLayer(name="wide", out_features=64, patch_size=256, positions=64)
    assert [layer.name for layer in telling_layers([wide, token])] == ["token"]
    assert [layer.name for layer in telling_layers([wide])] == ["wide"]
