"""Ranks are read from the singular values, whatever module follows a convolution."""

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from medleak.inversion.evidence.layers import survey
from medleak.inversion.evidence.ranks import possible_ranks, ran_frozen, read_span
from medleak.inversion.evidence.steps import LocalStep

SHAPE = (6, 4, 4)


def steps(*sizes):
    ends = [sum(sizes[: k + 1]) for k in range(len(sizes))]
    return tuple(LocalStep(slice(e - s, e), 0.0) for e, s in zip(ends, sizes, strict=True))


def network(norm: nn.Module, **conv) -> nn.Sequential:
    torch.manual_seed(0)
    settings = {"kernel_size": 3, "padding": 1, "bias": False} | conv
    return nn.Sequential(nn.Conv2d(6, 60, **settings), norm)


def update(net: nn.Module, x: Tensor) -> Tensor:
    net.zero_grad()
    out = net(x)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    (out.tanh() * weights).sum().backward()
    gradient = next(net.parameters()).grad
    assert gradient is not None
    return gradient


def images(n: int) -> Tensor:
    return torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(2))


NORMS = {
    "batch": nn.BatchNorm2d(60),
    "image": nn.InstanceNorm2d(60),
    "none": nn.GroupNorm(4, 60),
}


@pytest.mark.parametrize("centred", NORMS)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_rank_is_that_of_the_norm_that_ran(centred, n):
    net = network(NORMS[centred])
    conv = survey(net, torch.rand(2, *SHAPE)).convs[0]
    assert conv.centred == centred
    span = read_span(conv, update(net, images(n)), steps(n))
    assert span is not None
    assert len(span.space.basis) == {"batch": 16 * n - 1, "image": 15 * n, "none": 16 * n}[centred]
    assert span.space.gap > 100


@pytest.mark.parametrize("expected", ["batch", "image", "none"])
def test_what_was_expected_gives_way_to_what_the_values_show(expected):
    net = network(nn.InstanceNorm2d(60))
    conv = survey(net, torch.rand(2, *SHAPE)).convs[0]
    conv = dataclasses.replace(conv, centred=expected)
    span = read_span(conv, update(net, images(3)), steps(3))
    assert span is not None
    assert span.conv.centred == "image"


def test_of_noise_the_expected_rank_is_kept_and_does_not_stand_out():
    conv = survey(network(nn.BatchNorm2d(60)), torch.rand(2, *SHAPE)).convs[0]
    span = read_span(conv, torch.randn(60, 6, 3, 3), steps(1))
    assert span is not None
    assert (len(span.space.basis), span.conv.centred) == (15, "batch")
    assert span.space.gap < 2


@pytest.mark.parametrize("conv", [{"dilation": 2, "padding": 2}, {"stride": 2}])
def test_strides_and_dilations_change_the_patches_alone(conv):
    net = network(nn.BatchNorm2d(60), **conv)
    layer = survey(net, torch.rand(2, *SHAPE)).convs[0]
    span = read_span(layer, update(net, images(1)), steps(1))
    assert span is not None
    assert len(span.space.basis) == layer.positions - 1
    patches = layer.patches(images(1))[0]
    patches = patches - patches.mean(0)
    outside = patches - (patches @ span.space.basis.T) @ span.space.basis
    assert outside.norm() < 1e-3 * patches.norm()


def test_pixel_vectors_are_patches_of_pointwise_convolutions():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(40, 60, 1), nn.BatchNorm2d(60))
    x = torch.randn(1, 40, 4, 4)
    layer = survey(net, torch.rand(2, 40, 4, 4)).convs[0]
    assert layer.pointwise
    span = read_span(layer, update(net, x), steps(1))
    assert span is not None
    assert span.space.gap > 100


def test_the_mean_of_a_map_has_no_place_and_makes_no_row_space():
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(6, 60, 1))
    layer = survey(net, torch.rand(2, *SHAPE)).convs[0]
    assert read_span(layer, torch.randn(60, 6, 1, 1), steps(1)) is None


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_row_spaces_hold_the_patches_in_any_dimension(dimensions):
    torch.manual_seed(0)
    kind, norm = (
        (nn.Conv1d, nn.BatchNorm1d),
        (nn.Conv2d, nn.BatchNorm2d),
        (nn.Conv3d, nn.BatchNorm3d),
    )[dimensions - 1]
    net = nn.Sequential(kind(6, 60, 3, padding=1), norm(60))
    x = torch.randn(1, 6, *(3,) * dimensions)
    layer = survey(net, torch.rand(2, *x.shape[1:])).convs[0]
    assert layer.positions == 3**dimensions
    span = read_span(layer, update(net, x), steps(1))
    assert span is not None
    patches = layer.patches(x)[0]
    patches = patches - patches.mean(0)
    convolution = net.get_submodule("0")
    by_hand = patches @ next(convolution.parameters()).detach().flatten(1).T
    there = convolution(x).detach().flatten(2)[0].T
    torch.testing.assert_close(by_hand, there - there.mean(0), rtol=1e-4, atol=1e-5)
    outside = patches - (patches @ span.space.basis.T) @ span.space.basis
    assert outside.norm() < 1e-3 * patches.norm()


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_folding_is_the_adjoint_of_taking_patches(dimensions):
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dimensions - 1]
    net = nn.Sequential(kind(2, 3, 3, stride=1, padding=1))
    x = torch.randn(1, 2, *(4,) * dimensions)
    layer = survey(net, torch.rand(2, *x.shape[1:])).convs[0]
    patches = torch.randn_like(layer.patches(x))
    there = (layer.patches(x) * patches).sum()
    torch.testing.assert_close((layer.folded(patches, x.shape[2:]) * x).sum(), there)


TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
SETTINGS = (
    {"kernel_size": 2, "stride": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1},
)


@pytest.mark.parametrize("settings", SETTINGS, ids=["tiles", "overlaps"])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_a_transposed_convolution_tells_the_pixels_of_its_input(dimensions, settings):
    torch.manual_seed(0)
    norm = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[dimensions - 1]
    net = nn.Sequential(TRANSPOSED[dimensions - 1](60, 20, bias=False, **settings), norm(20))
    x = torch.randn(1, 60, *(3,) * dimensions)
    layer = survey(net, torch.rand(2, *x.shape[1:])).convs[0]
    assert (layer.kind, layer.positions, layer.centred) == ("transposed", 3**dimensions, "none")
    assert layer.rows == 20 * settings["kernel_size"] ** dimensions
    span = read_span(layer, update(net, x), steps(1))
    assert span is not None
    assert span.space.basis.shape == (3**dimensions, 60)
    assert span.space.gap > 100
    pixels = x.flatten(2)[0].T
    assert torch.equal(layer.patches(x)[0], pixels)
    outside = pixels - (pixels @ span.space.basis.T) @ span.space.basis
    assert outside.norm() < 1e-3 * pixels.norm()
    assert torch.equal(layer.folded(layer.patches(x), x.shape[2:]), x)


@pytest.mark.parametrize("settings", SETTINGS, ids=["tiles", "overlaps"])
def test_the_matrix_of_a_transposed_convolution_makes_its_output_of_pixels(settings):
    torch.manual_seed(0)
    conv = nn.ConvTranspose2d(6, 4, groups=2, bias=False, **settings)
    x = torch.randn(2, 6, 3, 3)
    layer = survey(nn.Sequential(conv), x).convs[0]
    matrix = layer.matrix(conv.weight.detach()).unflatten(0, (2, -1))
    pixels = layer.patches(x).unflatten(2, (2, -1))
    spread = torch.einsum("blgc,grc->bgrl", pixels, matrix).flatten(1, 2)
    out = conv(x).detach()
    where = layer.kernel_size, layer.dilation, layer.padding, layer.stride
    torch.testing.assert_close(nn.functional.fold(spread, out.shape[2:], *where), out)


class Windows(nn.Module):
    """Tokens, window by window, as a Swin transformer's attention has them."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(40, 50)

    def forward(self, x):
        return self.linear(x.reshape(len(x) * 4, -1, 40)).reshape(len(x), -1, 50)


@pytest.mark.parametrize("n", [1, 2])
def test_a_linear_layer_tells_its_tokens_in_windows_or_not(n):
    net, x = Windows(), torch.randn(n, 12, 40)
    layer = survey(net, torch.rand(2, 12, 40)).convs[0]
    assert (layer.kind, layer.positions, layer.centred) == ("linear", 12, "none")
    span = read_span(layer, update(net, x), steps(n))
    assert span is not None
    assert len(span.space.basis) == 12 * n
    seen = layer.patches(x.reshape(n * 4, 3, 40))
    assert torch.equal(seen, x)
    outside = seen - (seen @ span.space.basis.T) @ span.space.basis
    assert outside.norm() < 1e-3 * seen.norm()


def test_a_linear_layer_of_one_vector_an_image_is_not_listed():
    net = nn.Sequential(nn.Conv2d(6, 4, 4), nn.Flatten(), nn.Linear(4, 50))
    assert [c.name for c in survey(net, torch.rand(2, *SHAPE)).convs] == ["0"]


def test_grouped_convolutions_have_no_row_space_of_the_whole():
    net = network(nn.BatchNorm2d(60), groups=2)
    layer = survey(net, torch.rand(2, *SHAPE)).convs[0]
    assert read_span(layer, update(net, images(1)), steps(1)) is None


def test_ranks_tell_norms_in_evaluation_mode():
    net = network(nn.BatchNorm2d(60))
    convs = survey(net, torch.rand(2, *SHAPE)).convs
    weight = f"{convs[0].name}.weight"
    assert not ran_frozen(convs, {weight: update(net, images(1))}, steps(1))
    net[1].eval()
    assert ran_frozen(convs, {weight: update(net, images(1))}, steps(1))


def test_several_steps_lose_one_direction_each_where_a_batch_is_centred():
    conv = survey(network(nn.BatchNorm2d(60)), torch.rand(2, *SHAPE)).convs[0]
    assert possible_ranks(conv, steps(2, 1)) == {"batch": 46, "image": 45, "none": 48}
