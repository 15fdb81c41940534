"""Tests of medleak.filters.defences.sign."""

import numpy as np

from medleak.filters.defences.sign import Sign
from medleak.filters.noise import NoiseSource


def test_entries_become_their_sign_times_the_mean_magnitude():
    update = {"w": np.array([1.0, -2.0, 0.0, 5.0], np.float32), "b": np.float32(-3)}
    sent = Sign()(update, rng=NoiseSource.secure())
    np.testing.assert_array_equal(sent["w"], np.array([2, -2, 0, 2], np.float32))
    assert sent["b"] == -3
