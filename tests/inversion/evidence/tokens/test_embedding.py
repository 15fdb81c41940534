"""Tests of medleak.inversion.evidence.tokens.embedding."""

import pytest
import torch
import torchvision
from tests.inversion.evidence.tokens.networks import (
    OnAGrid,
    Timm,
    awake,
    monai_vit,
    torchvision_vit,
)
from torch import nn

from medleak.inversion.evidence.tokens.embedding import patch_embedding, projections

SHAPE = (3, 16, 16)


def found(network, shape=SHAPE):
    (projection,) = projections(network.eval(), shape)
    return patch_embedding(network, shape, projection)


@pytest.mark.parametrize(
    ("network", "position", "first"),
    [
        (torchvision_vit(), "encoder.pos_embedding", 1),
        (monai_vit(), "patch_embedding.position_embeddings", 0),
        (monai_vit(proj_type="perceptron"), "patch_embedding.position_embeddings", 0),
        (Timm(), "pos_embed", 5),
        (Timm(shared=False), "pos_embed", 0),
        (Timm(registers=0), "pos_embed", 1),
        (OnAGrid(), "pos", 0),
    ],
    ids=["torchvision", "monai", "perceptron", "registers", "not shared", "class token", "grid"],
)
def test_the_position_embedding_of_the_patches_is_found_whatever_its_name(network, position, first):
    embedding = found(network)

    assert embedding is not None
    assert (embedding.position, embedding.trained) == (position, True)
    values = torch.arange(network.get_parameter(position).numel())
    rows = embedding.signal(values.view(network.get_parameter(position).shape))
    assert rows.shape == (16, 48)
    if position != "pos":
        assert torch.equal(rows, (values.view(-1, 48))[first : first + 16])
    else:
        assert torch.equal(rows, values.view(48, 16).T)


def test_a_volume_is_cut_into_patches_too():
    shape = (2, 16, 8, 12)
    network = monai_vit(in_channels=2, img_size=shape[1:], spatial_dims=3)
    (projection,) = projections(network.eval(), shape)

    assert projection.pixels.shape == (4 * 2 * 3, 2 * 4**3)
    assert projection.pixels.flatten().sort().values.equal(torch.arange(2 * 16 * 8 * 12))
    assert patch_embedding(network, shape, projection) is not None


@pytest.mark.parametrize("proj_type", ["conv", "perceptron"])
def test_pixels_are_those_that_the_projection_reads(proj_type):
    network = monai_vit(proj_type=proj_type).eval()
    (projection,) = projections(network, SHAPE)
    image = torch.rand(1, *SHAPE)
    read = []
    layer = network.get_submodule(projection.layer)
    layer.register_forward_hook(lambda module, args, out: read.append(out))
    network(image)

    weight = network.get_parameter(projection.weight).flatten(1)
    patches = image.flatten()[projection.pixels]
    tokens = patches @ weight.T + network.get_parameter(f"{projection.layer}.bias")
    own = read[0] if proj_type == "perceptron" else read[0].flatten(2).transpose(1, 2)
    assert torch.allclose(tokens, own[0], atol=1e-5)


def test_padding_is_no_pixel():
    network = nn.Sequential(nn.Conv2d(1, 2, 4, stride=4, padding=2), nn.Flatten(), nn.Linear(8, 2))
    (projection,) = projections(network, (1, 4, 4))

    assert int((projection.pixels < 0).sum()) == 4 * 16 - 16


@pytest.mark.filterwarnings("ignore:torch.meshgrid")  # of MONAI's own call
def test_a_fixed_embedding_is_told_from_a_trained_one():
    embedding = found(monai_vit(pos_embed_type="sincos"))

    assert embedding is not None
    assert not embedding.trained


@pytest.mark.parametrize(
    "network", [Timm(norm=True), torchvision.models.swin_t(num_classes=2)], ids=["norm", "swin"]
)
def test_patches_without_an_embedding_of_their_own_have_none(network):
    shape = (3, 16, 16) if isinstance(network, Timm) else (3, 64, 64)

    assert found(awake(network), shape) is None


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * 256, 2)),
        nn.Sequential(nn.Flatten(), nn.Linear(3 * 256, 2)),
        nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 4, stride=4)),
    ],
    ids=["overlapping", "one linear layer", "normalised first"],
)
def test_other_networks_cut_no_patches(network):
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(1))

    assert projections(network.eval(), SHAPE) == []


def test_the_network_is_left_as_it_was():
    network = torchvision_vit().eval()
    before = {n: v.clone() for n, v in network.state_dict().items()}
    found(network)

    assert all(torch.equal(v, before[n]) for n, v in network.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
