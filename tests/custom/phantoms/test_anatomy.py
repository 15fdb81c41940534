"""Tests of medleak.custom.phantoms.anatomy."""

from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medleak.custom.phantoms.anatomy import attenuation, draw_anatomy, smooth_noise


def grid(n=96):
    """Patient coordinates x and y, [n, n] each, float32 from -1 to 1."""
    axis = np.linspace(-1, 1, n, dtype=np.float32)
    return np.meshgrid(axis, axis)


@given(st.integers(0, 2**32))
def test_a_patient_depends_on_the_generator_alone(seed):
    first, second = (draw_anatomy(np.random.default_rng(seed)) for _ in range(2))
    assert astuple(first) == astuple(second)
    assert len(first.birth) == len("dd.mm.yyyy")
    assert first.name.isascii()


@pytest.mark.parametrize("seed", range(20))
def test_every_patient_attenuates_within_bounds_and_only_where_the_body_is(seed):
    x, y = grid()
    density = attenuation(draw_anatomy(np.random.default_rng(seed)), x, y, opacity=0.0)
    assert density.dtype == np.float32
    assert density.min() > -0.05
    assert density.max() < 1.6
    assert density[0, :20].max() < 0.05  # the air beside the neck
    assert density[48, 46:50].min() > 0.6  # the spine


@pytest.mark.parametrize("seed", range(20))
def test_consolidations_only_add_and_only_in_the_lungs(seed):
    anatomy = draw_anatomy(np.random.default_rng(seed))
    x, y = grid()
    clear, sick, sicker = (attenuation(anatomy, x, y, opacity) for opacity in (0.0, 0.2, 0.4))
    added = sick - clear
    assert added.min() > -1e-6
    assert 0.02 < added.max() < 0.2 + 1e-6
    assert np.all(added[(np.abs(x) > 0.80) | (np.abs(x) < 0.05)] == 0)
    np.testing.assert_allclose(sicker - clear, 2 * added, atol=1e-6)


def test_smooth_noise_is_smooth_and_repeatable():
    noise = smooth_noise(np.random.default_rng(0), 4, (32, 48))
    assert noise.shape == (32, 48)
    assert np.abs(np.diff(noise, axis=1)).max() < 0.2
    np.testing.assert_array_equal(noise, smooth_noise(np.random.default_rng(0), 4, (32, 48)))
