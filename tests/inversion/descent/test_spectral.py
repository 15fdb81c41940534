"""Tests of medleak.inversion.descent.spectral."""

import pytest
import torch
from scipy.fft import dctn

from medleak.inversion.descent.spectral import Spectral


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


def test_the_unknowns_of_a_gray_image_are_its_dct_over_the_gain():
    u = torch.rand(1, 1, 8, 12, dtype=torch.float64)
    image = Spectral(torch.zeros_like(u)).images(u)[0, 0]
    k, m = torch.arange(8.0), torch.arange(12.0)
    gain = 1 / (1 + (k[:, None] ** 2 + m**2).sqrt())
    expected = torch.from_numpy(dctn(image.numpy(), norm="ortho")) / gain
    torch.testing.assert_close(u[0, 0], expected)
