"""Tests of medleak.filters.defences.clipped_laplace."""

import numpy as np
import pytest

from medleak.filters.defences.clipped_laplace import ClippedLaplace
from medleak.filters.noise import NoiseSource


def test_the_l1_norm_under_the_noise_is_the_bound():
    defence = ClippedLaplace(max_grad_norm=7.0, noise_multiplier=1.0)
    update = {"a": np.array([30.0]), "b": np.array([-40.0])}
    nothing = {n: np.full_like(v, 1e-300) for n, v in update.items()}
    noised, noise = (defence(u, rng=NoiseSource.seeded(1)) for u in (update, nothing))
    assert noised["a"] - noise["a"] == pytest.approx(3.0, abs=1e-6)
    assert noised["b"] - noise["b"] == pytest.approx(-4.0, abs=1e-6)


def test_neighbours_are_as_likely_as_epsilon_allows():
    # One number, C = 1, z = 2, relation replace: ε = 1. Outputs of 1 and -1 differ by e^ε at most.
    defence = ClippedLaplace(max_grad_norm=1.0, noise_multiplier=2.0)
    high, low = (
        np.array([defence({"w": np.array(x)}, rng=NoiseSource.secure())["w"] for _ in range(4000)])
        for x in (1.0, -1.0)
    )
    ratio = (high > 1).mean() / (low > 1).mean()
    assert ratio == pytest.approx(np.exp(1.0), rel=0.2)


def test_a_guarantee_without_noise_on_statistics_is_refused():
    with pytest.raises(ValueError, match="voids its guarantee"):
        ClippedLaplace(max_grad_norm=1, noise_multiplier=1, buffers="pass")
