"""Tests of medleak.filters.defences.clipped_gaussian."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from medleak.filters.defences.clipped_gaussian import ClippedGaussian
from medleak.filters.noise import NoiseSource

finite = st.floats(-1e3, 1e3).filter(lambda x: abs(x) > 1e-3)


def without_noise(update, max_grad_norm, **kwargs):
    """What the mechanism adds noise to: the same noise on the update, and on almost nothing."""
    defence = ClippedGaussian(max_grad_norm=max_grad_norm, noise_multiplier=1.0, **kwargs)
    nothing = {n: np.full_like(v, 1e-300) for n, v in update.items()}
    noised, noise = (defence(u, rng=NoiseSource.seeded(1)) for u in (update, nothing))
    return {n: noised[n] - noise[n] for n in noised}


@given(arrays(np.float64, st.integers(1, 9), elements=finite), st.floats(1e-2, 1e2))
def test_the_norm_under_the_noise_never_exceeds_the_bound(weights, bound):
    clipped = without_noise({"a": weights, "b": -weights[:1]}, bound)
    assert np.sqrt(sum((v**2).sum() for v in clipped.values())) <= bound * (1 + 1e-12)


def test_the_direction_is_kept():
    clipped = without_noise({"a": np.array([30.0]), "b": np.array([-40.0])}, 5.0)
    assert clipped["a"] == pytest.approx(3.0, abs=1e-6)
    assert clipped["b"] == pytest.approx(-4.0, abs=1e-6)


def test_an_update_inside_the_bound_is_not_scaled():
    clipped = without_noise({"a": np.array([0.3]), "b": np.array([-0.4])}, 5.0)
    assert clipped["a"] == pytest.approx(0.3, abs=1e-6)


def test_statistics_are_dropped_or_part_of_the_clipped_vector(update, global_state):
    dropped = ClippedGaussian(max_grad_norm=1, noise_multiplier=1)(
        update, rng=NoiseSource.secure(), global_state=global_state
    )
    assert not [n for n in dropped if "running" in n or "tracked" in n]
    huge = {**update, "bn1.running_mean": np.full(64, 1e6, np.float32)}
    noised = ClippedGaussian(max_grad_norm=1, noise_multiplier=1e-3, buffers="noise")(
        huge, rng=NoiseSource.secure(), global_state=global_state
    )
    assert np.linalg.norm(noised["bn1.running_mean"]) == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"max_grad_norm": 0}, "max_grad_norm must be a finite number above 0"),
        ({"max_grad_norm": float("inf")}, "max_grad_norm"),
        ({"noise_multiplier": -1}, "noise_multiplier must be"),
        ({"noise_multiplier": 1e-9}, "vanishes in floating point"),
        ({"relation": "add"}, "relation must be one of replace, zero_out"),
        ({"buffers": "pass"}, "voids its guarantee"),
    ],
)
def test_settings_without_a_guarantee_are_refused(args, message):
    with pytest.raises(ValueError, match=message):
        ClippedGaussian(**{"max_grad_norm": 1, "noise_multiplier": 1, **args})
