"""Tests of medleak.filters.defences.quantisation."""

import numpy as np
import pytest

from medleak.filters.defences.quantisation import Quantisation
from medleak.filters.noise import NoiseSource


@pytest.mark.parametrize(("bits", "levels"), [(2, 3), (4, 15), (8, 255)])
def test_entries_lie_on_the_levels(bits, levels):
    update = {"w": np.random.default_rng(0).normal(size=5000)}
    sent = Quantisation(bits=bits)(update, rng=NoiseSource.seeded(1))["w"]
    step = 2 * abs(update["w"]).max() / (levels - 1)
    np.testing.assert_allclose(sent / step, np.rint(sent / step), atol=1e-9)
    assert np.unique(np.rint(sent / step)).size <= levels
    assert abs(sent - update["w"]).max() < step * (1 + 1e-9)


def test_rounding_is_unbiased():
    update = {"w": np.array([0.1, 0.33, -0.77, 1.0])}
    rng = NoiseSource.seeded(3)
    mean = np.mean([Quantisation(bits=2)(update, rng=rng)["w"] for _ in range(4000)], axis=0)
    np.testing.assert_allclose(mean, update["w"], atol=0.03)


def test_a_tensor_of_zeros_stays_zero():
    update = {"w": np.zeros(3), "v": np.ones(2)}
    assert not Quantisation(bits=4)(update, rng=NoiseSource.secure())["w"].any()


@pytest.mark.parametrize("bits", [1, 17, 4.0, True])
def test_a_width_without_levels_is_refused(bits):
    with pytest.raises(ValueError, match="bits must be a whole number from 2 to 16"):
        Quantisation(bits=bits)
