"""Tests of medleak.filters.defences.top_k."""

import numpy as np
import pytest

from medleak.filters.defences.top_k import TopK
from medleak.filters.noise import NoiseSource


def test_the_largest_magnitudes_are_kept_and_all_others_zero():
    update = {"w": np.array([[0.1, -0.9, 0.2], [0.0, 0.5, -0.3]], np.float32)}
    sent = TopK(fraction=1 / 3)(update, rng=NoiseSource.secure())
    np.testing.assert_array_equal(sent["w"], np.array([[0, -0.9, 0], [0, 0.5, 0]], np.float32))


def test_each_tensor_keeps_its_share_and_at_least_one_entry(update, global_state):
    sent = TopK(fraction=0.05)(update, rng=NoiseSource.secure(), global_state=global_state)
    assert np.count_nonzero(sent["fc.weight"]) == round(0.05 * 40 * 512)
    assert np.count_nonzero(sent["bn1.weight"]) == round(0.05 * 64)
    assert sent["temperature"] == update["temperature"]


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan"), True, "0.1"])
def test_a_fraction_that_selects_nothing_or_everything_is_refused(fraction):
    with pytest.raises(ValueError, match="fraction must be between 0 and 1"):
        TopK(fraction=fraction)
