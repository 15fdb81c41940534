"""Tests of medleak.filters.sentinel.checks.step."""

import numpy as np
import pytest

from medleak.filters.sentinel.checks.step import FIRST, LEAST, LIMIT, check, size, sizes


def test_the_size_is_the_root_mean_square():
    assert size(np.array([3.0, 4.0])) == pytest.approx(np.sqrt(12.5))
    assert set(sizes({"a": np.ones(3), "n": np.array(3)})) == {"a"}


@pytest.mark.parametrize(("factor", "status"), [(0.99, "fine"), (1.01, "odd")])
def test_the_limit_is_a_multiple_of_the_own_update(factor, status):
    found = check({"a": (factor * LIMIT * 0.1, 1000)}, {"a": 0.1}, earlier={"a": 0.1})
    assert found.status == status


def test_without_an_earlier_model_or_an_own_update_nothing_is_known():
    assert check(None, {"a": 1.0}).status == "not examined"
    assert check({"a": (1.0, 1000)}, {}).status == "not examined"


def test_an_entry_of_few_numbers_is_held_to_the_largest_own_size():
    own, earlier = {"weight": 0.01, "bias": 1e-9}, {"bias": 1e-9}
    assert check({"bias": (0.05, 2)}, own, earlier=earlier).status == "fine"
    assert check({"bias": (0.05, 1000)}, own, earlier=earlier).status == "odd"
    assert check({"bias": (0.5, 2)}, own, earlier=earlier).status == "odd"


def test_an_entry_that_the_site_left_as_it_was_must_not_move():
    assert check({"a": (0.0, 1000)}, {"a": 0.0, "b": 1.0}).status == "fine"
    assert check({"a": (1e-6, 1000)}, {"a": 0.0, "b": 1.0}).status == "odd"


def test_a_small_site_among_large_ones_may_be_moved_further_but_not_suddenly():
    own = {"a": 0.1}
    far = {"a": (5 * LIMIT * 0.1, 1000)}
    assert check(far, own).status == "fine"  # the first step
    assert check(far, own, earlier={"a": 2 * LIMIT * 0.1}).status == "fine"
    assert check(far, own, earlier={"a": 0.1}).status == "odd"
    assert check({"a": (FIRST * LIMIT * 0.1 * 1.01, 1000)}, own).status == "odd"
    beyond = {"a": (FIRST * LIMIT * 0.1 * 1.01, 1000)}
    assert check(beyond, own, earlier={"a": 100.0}).status == "odd"


def test_an_update_of_a_vanished_loss_does_not_bound_the_first_step():
    own, weights = {"a": 1e-9}, {"a": 2.0, "b": 0.5, "zeros": 0.0}
    reach = FIRST * LIMIT * LEAST * 2.0
    assert check({"a": (0.99 * reach, 1000)}, own, weights=weights).status == "fine"
    assert check({"a": (1.01 * reach, 1000)}, own, weights=weights).status == "odd"
    assert check({"a": (0.99 * reach, 1000)}, own).status == "odd"
    later = check({"a": (0.5 * reach, 1000)}, own, weights=weights, earlier={"a": 0.1 * reach})
    assert later.status == "odd"
    biases = check({"zeros": (1e-3, 1000)}, {"zeros": 1e-9, "a": 1e-9}, weights=weights)
    assert biases.status == "fine"  # judged by the usual weight
