"""Tests of medleak.inversion.descent.starts."""

import pytest
import torch

from medleak.inversion.descent.starts import STARTS, from_prior, smooth_noise, tiled

SHAPE = (2, 3, 12, 20)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", [SHAPE, (2, 1, 12, 8, 10)])
@pytest.mark.parametrize("name", STARTS)
def test_every_start_has_the_shape_and_follows_its_seed(name, shape):
    prior = torch.full((1, 1, *shape[2:]), 0.3)
    first, same, other = (STARTS[name](shape, prior, generator(s)) for s in (0, 0, 1))
    assert first.shape == shape
    assert first.dtype == torch.float32
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])  # equal images of a batch would stay equal


def test_a_tiled_start_repeats_its_patch():
    image = tiled((1, 1, 16, 16), None, generator())
    patch = image[..., :4, :4]
    assert torch.equal(image, patch.repeat(1, 1, 4, 4))


def test_the_prior_start_is_the_prior_within_a_trace():
    prior = torch.rand(1, 3, 12, 20, generator=generator(5)) * 0.6 + 0.2
    start = from_prior(SHAPE, prior, generator())
    assert float((start - prior).abs().mean()) < 0.03


def test_without_a_prior_the_prior_start_is_gray():
    start = from_prior(SHAPE, None, generator())
    assert float(start.mean()) == pytest.approx(0.5, abs=0.01)


def test_a_prior_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"The prior is \(1, 1, 8, 8\), the images are"):
        from_prior(SHAPE, torch.rand(1, 1, 8, 8), generator())


def test_smooth_noise_is_standardised_and_smoother_than_white():
    noise = smooth_noise((4, 1, 32, 32), generator())
    assert float(noise.mean()) == pytest.approx(0, abs=1e-5)
    assert float(noise.std()) == pytest.approx(1, abs=1e-4)
    neighbours = (noise[..., 1:] - noise[..., :-1]).std()
    assert float(neighbours) < 1  # white noise: sqrt(2)
