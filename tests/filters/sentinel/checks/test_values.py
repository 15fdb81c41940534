"""Tests of medleak.filters.sentinel.checks.values."""

import numpy as np
import pytest

from medleak.filters.sentinel.checks.values import GROWTH, check, largest


def test_the_largest_is_absolute_and_a_nan_stays_one():
    found = largest({"a": np.array([-3.0, 2.0]), "b": np.array([1, np.nan]), "c": np.array([2])})
    assert found["a"] == 3.0
    assert np.isnan(found["b"])
    assert found["c"] == 2.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_odd_even_at_first_sight(bad):
    assert check(largest({"a": np.array([0.0, bad])}), None).status == "odd"


def test_growth_beyond_the_limit_is_odd():
    assert check({"a": 2.0}, None).status == "not examined"
    assert check({"a": 2.0 * GROWTH}, {"a": 2.0}).status == "fine"
    assert check({"a": 2.1 * GROWTH}, {"a": 2.0}).status == "odd"


def test_counters_count_on():
    name = "bn.num_batches_tracked"
    assert check({name: 100.0, "a": 1.0}, {name: 1.0, "a": 1.0}).status == "fine"
