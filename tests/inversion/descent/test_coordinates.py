"""Tests of medleak.inversion.descent.coordinates."""

import pytest
import torch
from scipy.fft import dctn

from medleak.inversion.descent.coordinates import Pyramid, Spectral


def test_it_begins_at_the_start():
    start = torch.rand(2, 1, 16, 12)
    assert torch.equal(Pyramid(start, 3).images().detach(), start)


def test_every_layer_has_twice_the_side_of_the_one_before():
    sizes = [tuple(v.shape[-2:]) for v in Pyramid(torch.zeros(1, 3, 32, 48), 3, 0.5).layers]
    assert sizes == [(4, 6), (8, 12), (16, 24)]


def test_a_constant_layer_is_a_constant_image_at_its_gain():
    pyramid = Pyramid(torch.zeros(1, 1, 8, 8), 2)
    with torch.no_grad():
        pyramid.layers[0].fill_(1.0)
        pyramid.layers[1].fill_(1.0)
    torch.testing.assert_close(pyramid.images(), torch.full((1, 1, 8, 8), 1.75))


def test_gradients_reach_every_layer_and_the_start_stays():
    start = torch.rand(1, 1, 8, 8)
    before = start.clone()
    pyramid = Pyramid(start, 2)
    gradients = torch.autograd.grad(pyramid.images().square().sum(), pyramid.layers)
    assert all(g.abs().sum() > 0 for g in gradients)
    assert torch.equal(start, before)


def test_a_volume_has_layers_of_three_sides():
    pyramid = Pyramid(torch.zeros(1, 2, 8, 12, 4), 2)
    assert [tuple(v.shape[2:]) for v in pyramid.layers] == [(4, 6, 2), (8, 12, 4)]
    with torch.no_grad():
        for layer in pyramid.layers:
            layer.fill_(1.0)
    torch.testing.assert_close(pyramid.images(), torch.full((1, 2, 8, 12, 4), 1.75))


def test_more_levels_than_the_image_has_pixels_end_at_one_pixel():
    assert tuple(Pyramid(torch.zeros(1, 1, 4, 4), 6).layers[0].shape[-2:]) == (1, 1)


@pytest.mark.parametrize(("levels", "finest"), [(0, 1.0), (2, 0.0), (2, 1.5)])
def test_a_pyramid_without_a_layer_is_an_error(levels, finest):
    with pytest.raises(ValueError, match="no layer to optimise"):
        Pyramid(torch.zeros(1, 1, 4, 4), levels, finest)


@pytest.mark.parametrize("channels", [1, 3])
def test_zero_is_the_start_and_the_gradient_reaches_every_unknown(channels):
    start = torch.rand(2, channels, 8, 12, dtype=torch.float64)
    spectral = Spectral(start)
    u = spectral.zeros().requires_grad_()
    images = spectral.images(u)
    assert torch.equal(images.detach(), start)
    (gradient,) = torch.autograd.grad((images * torch.rand_like(images)).sum(), u)
    assert bool((gradient != 0).all())


@pytest.mark.parametrize("channels", [1, 3])
def test_every_image_can_be_reached(channels):
    size = 6
    spectral = Spectral(torch.zeros(1, channels, size, size, dtype=torch.float64))
    n = channels * size * size
    units = torch.eye(n, dtype=torch.float64).view(n, 1, channels, size, size)
    columns = [spectral.images(e).flatten() for e in units]
    assert int(torch.linalg.matrix_rank(torch.stack(columns))) == n


def test_the_unknowns_of_a_volume_are_its_dct_over_the_gain():
    start = torch.zeros(1, 1, 6, 4, 5, dtype=torch.float64)
    spectral = Spectral(start)
    u = torch.rand(start.shape, dtype=torch.float64)
    image = spectral.images(u)[0, 0].numpy()
    axes = torch.meshgrid(*(torch.arange(s) for s in start.shape[2:]), indexing="ij")
    frequency = torch.stack(axes).double().norm(dim=0)
    expected = u[0, 0] / (1 + frequency)
    torch.testing.assert_close(torch.from_numpy(dctn(image, norm="ortho")), expected)


def test_the_unknowns_of_a_gray_image_are_its_dct_over_the_gain():
    u = torch.rand(1, 1, 8, 12, dtype=torch.float64)
    image = Spectral(torch.zeros_like(u)).images(u)[0, 0]
    k, m = torch.arange(8.0), torch.arange(12.0)
    gain = 1 / (1 + (k[:, None] ** 2 + m**2).sqrt())
    expected = torch.from_numpy(dctn(image.numpy(), norm="ortho")) / gain
    torch.testing.assert_close(u[0, 0], expected)
