"""Tests of medleak.filters.sentinel.checks.structure."""

import numpy as np
import pytest
from tests.filters.sentinel.models import convolutional, linear

from medleak.filters.sentinel.checks.structure import check, described, fingerprint


def test_the_first_model_is_pinned_but_not_called_fine():
    assert check(linear(), None, None).status == "not examined"
    assert check(linear(seed=1), None, described(linear())).status == "fine"


@pytest.mark.parametrize(
    "change",
    [
        {"imprint.weight": np.zeros((8, 8), np.float32)},
        {"fc.weight": np.zeros((3, 64), np.float32)},
        {"fc.bias": np.zeros(2, np.float64)},
    ],
)
def test_a_new_module_another_shape_and_another_type_are_odd(change):
    assert check({**linear(), **change}, None, described(linear())).status == "odd"


def test_a_missing_entry_and_another_order_are_odd():
    state, first = linear(), described(linear())
    less = {n: v for n, v in state.items() if n != "fc.bias"}
    turned = dict(reversed(state.items()))
    assert check(less, None, first).status == check(turned, None, first).status == "odd"


def test_an_approved_hash_decides_at_first_sight():
    approved = fingerprint(described(linear()))
    assert check(linear(seed=2), approved, None).status == "fine"
    assert check({**linear(), **convolutional()}, approved, None).status == "odd"


def test_a_counter_that_an_averaging_server_made_a_float_is_the_same():
    averaged = {**convolutional(), "bn.num_batches_tracked": np.array(3.0)}
    assert check(averaged, None, described(convolutional())).status == "fine"
