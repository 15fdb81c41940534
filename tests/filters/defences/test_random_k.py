"""Tests of medleak.filters.defences.random_k."""

import numpy as np
import pytest

from medleak.filters.defences.random_k import RandomK
from medleak.filters.noise import NoiseSource


def test_the_chosen_entries_are_uniform_and_unchanged():
    update = {"w": np.arange(1, 101, dtype=np.float32)}
    rng = NoiseSource.seeded(1)
    hits = np.zeros(100)
    for _ in range(400):
        sent = np.asarray(RandomK(fraction=0.25)(update, rng=rng)["w"])
        chosen = sent != 0
        assert chosen.sum() == 25
        np.testing.assert_array_equal(sent[chosen], update["w"][chosen])
        hits += chosen
    assert abs(hits / 400 - 0.25).max() < 0.1


def test_rescaling_makes_the_expectation_the_update():
    update = {"w": np.linspace(1, 2, 40, dtype=np.float32)}
    rng = NoiseSource.seeded(2)
    sent = [RandomK(fraction=0.25, rescale=True)(update, rng=rng)["w"] for _ in range(4000)]
    np.testing.assert_allclose(np.mean(sent, axis=0), update["w"], rtol=0.12)


def test_a_fraction_above_one_is_refused():
    with pytest.raises(ValueError, match="fraction must be between 0 and 1"):
        RandomK(fraction=2)
