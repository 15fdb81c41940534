"""Tests of medleak.inversion.evidence.tokens.solve."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medleak.inversion.evidence.tokens.solve import solve_patches


def problem(tokens=6, width=20, places=64, seed=0, images=1):
    g = torch.Generator().manual_seed(seed)
    signals = torch.randn(images, tokens, width, generator=g, dtype=torch.float64)
    patches = torch.rand(images, tokens, places, generator=g, dtype=torch.float64)
    gradient = torch.einsum("itd,itv->dv", signals, patches)
    return signals.sum(0), gradient, patches


def solved(signal, gradient, sigma=1e-9, guess=0.5):
    return solve_patches(
        signal,
        gradient,
        torch.full((len(signal), gradient.shape[1]), guess),
        origin=torch.zeros(gradient.shape[1]),
        signal_variance=torch.full_like(signal, sigma**2),
        gradient_variance=torch.full_like(gradient, sigma**2),
    )


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 12), st.integers(0, 1000), st.floats(1e-6, 1e3))
def test_exact_updates_give_the_patches_at_any_scale(tokens, seed, scale):
    signal, gradient, (patches,) = problem(tokens=tokens, seed=seed)
    found = solved(scale * signal, scale * gradient, 1e-12 * scale)

    assert torch.allclose(found.values, patches, atol=1e-6)
    assert (found.rank, found.misfit < 1e-9) == (tokens, True)


@pytest.mark.parametrize("sigma", [1e-3, 1e-2, 1e-1])
def test_the_expected_error_is_that_of_the_patches(sigma):
    signal, gradient, (patches,) = problem(seed=3)
    g = torch.Generator().manual_seed(4)
    signal = signal + sigma * torch.randn(signal.shape, generator=g, dtype=torch.float64)
    gradient = gradient + sigma * torch.randn(gradient.shape, generator=g, dtype=torch.float64)
    found = solved(signal, gradient, sigma)

    error = float((found.values - patches).square().mean().sqrt())
    assert 0.7 * found.error < error < 1.5 * found.error


def test_directions_beneath_the_noise_stay_the_guess():
    signal, gradient, (patches,) = problem(tokens=2, seed=1)
    # Two tokens of like signal and like content: their difference is lost in noise, not their mean.
    signal[1] = signal[0] + 1e-6 * signal[1]
    patches[1] = patches[0]
    g = torch.Generator().manual_seed(4)
    gradient = signal.T @ patches
    gradient += 1e-3 * torch.randn(gradient.shape, generator=g, dtype=torch.float64)
    found = solved(signal, gradient, 1e-3)

    assert found.rank == 1
    assert torch.allclose(found.values, patches, atol=5e-3)


def test_several_images_leave_equations_that_do_not_hold():
    signal, gradient, _ = problem(images=2)
    found = solved(signal, gradient)

    assert found.misfit > 0.2
    assert found.error > 0.1


def test_pure_noise_is_the_guess_and_says_so():
    g = torch.Generator().manual_seed(0)
    signal = torch.randn(6, 20, generator=g)
    gradient = torch.randn(20, 64, generator=g)
    found = solved(signal, 0.5 * signal.sum(0)[:, None] + gradient)

    assert (found.values - 0.5).abs().mean() < 0.1
    assert found.error > 0.1


def test_fewer_equations_than_patches_leave_some_of_them_untold():
    signal, gradient, _ = problem(tokens=20, width=10)
    found = solved(signal, gradient)

    assert found.rank <= 10
    assert found.error > 0.15


def test_arguments_that_do_not_go_together_are_refused():
    signal, gradient, _ = problem()
    with pytest.raises(ValueError, match="of one projection"):
        solved(signal[:, :5], gradient)
    with pytest.raises(ValueError, match="signal is zero"):
        solved(torch.zeros_like(signal), gradient)
