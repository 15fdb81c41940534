"""Tests of medleak.filters.sentinel.checks.values."""

import numpy as np
import pytest

from medleak.filters.sentinel.checks.values import GROWTH, MOMENTUM, check, largest, pulled


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


def test_running_statistics_are_pulled_to_what_the_batches_have():
    state = {"bn.running_mean": np.zeros(2), "bn.running_var": np.ones(2)}
    once = {"bn.running_mean": np.array([0.3, -0.6]), "bn.running_var": np.array([0.0, 0.4])}
    assert pulled(state, once) == pytest.approx({"bn.running_mean": 6.0, "bn.running_var": 5.0})
    twice = {**once, "bn.num_batches_tracked": np.array(2)}
    assert pulled(state, twice)["bn.running_mean"] == pytest.approx(0.6 / 0.19)
    many = {**once, "bn.num_batches_tracked": np.array(500)}
    assert pulled(state, many)["bn.running_mean"] == pytest.approx(0.6)


def test_frozen_norms_pull_nowhere_and_nothing_else_is_pulled():
    state = {"bn.running_mean": np.array([0.5]), "bn.weight": np.ones(1), "fc.weight": np.ones(2)}
    still = {n: np.zeros_like(v) for n, v in state.items()}
    assert pulled(state, still) == {"bn.running_mean": 0.5}


def test_running_statistics_of_which_no_own_update_tells_are_held_to_a_slow_start():
    name, before = "bn.running_mean", {"bn.running_mean": 1.0}
    wide = GROWTH / MOMENTUM
    assert check({name: 0.99 * wide}, before).status == "fine"
    assert check({name: 1.01 * wide}, before).status == "odd"
    assert check({name: 1.01 * GROWTH}, before, told={name: 0.1}).status == "odd"
    assert check({"fc.weight": 1.01 * GROWTH}, {"fc.weight": 1.0}).status == "odd"
