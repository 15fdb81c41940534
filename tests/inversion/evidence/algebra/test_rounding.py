"""Tests of medleak.inversion.evidence.algebra.rounding."""

import torch

from medleak.inversion.evidence.algebra.rounding import added_variance, rounding_variance


def test_the_rounding_of_an_update_has_the_variance_that_is_told():
    g = torch.Generator().manual_seed(0)
    weight = torch.randn(20_000, generator=g)
    exact = 1e-4 * torch.randn(20_000, generator=g, dtype=torch.float64)
    update = (weight.double() + exact).float() - weight

    told = rounding_variance(weight, update)
    assert told is not None
    error = (update.double() - exact).square()
    assert 0.95 < float(error.sum() / told.sum()) < 1.05


def test_an_update_with_noise_on_it_is_no_difference_of_weights():
    g = torch.Generator().manual_seed(0)
    weight, update = torch.randn(1000, generator=g), 1e-5 * torch.randn(1000, generator=g)

    assert rounding_variance(weight, update) is None


def test_noise_on_the_signals_is_seen_by_their_sum():
    g = torch.Generator().manual_seed(0)
    signal = torch.randn(50, 400, generator=g)
    noised = [v + 0.1 * torch.randn(v.shape, generator=g) for v in (signal, signal.sum(0))]

    assert 0.008 < added_variance(*noised) < 0.012


def test_without_a_bias_noise_is_at_most_what_the_least_singular_value_allows():
    g = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn(50, 400, generator=g)

    assert 0.008 < added_variance(noise, None) < 0.014
    assert added_variance(noise[:, :50], None) > 0.008
