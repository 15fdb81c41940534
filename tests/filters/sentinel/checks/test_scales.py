"""Tests of medleak.filters.sentinel.checks.scales."""

import pytest
from tests.filters.sentinel.models import convolutional, linear

from medleak.filters.sentinel.checks.scales import check, extremes
from medleak.filters.sentinel.layers import layers_of


def judged(state):
    return check(list(layers_of(state)), state)


def test_what_pytorch_starts_with_is_far_within():
    found = judged({**linear(), **convolutional()})
    assert found.status == "fine"
    assert found.statistic is not None
    assert found.statistic < 0.3


def test_one_threshold_among_many_rows_is_odd():
    state = linear()
    state["hidden.bias"][7] = -1.0  # the row's norm is 0.58, and 400 inputs are about 1
    found = judged(state)
    assert (found.status, found.where) == ("odd", "hidden.weight and its bias")


def test_what_own_updates_made_widens_the_limit():
    state = linear()
    state["fc.weight"] *= 100
    (layers, odd) = list(layers_of(state)), judged(state)
    assert odd.statistic is not None
    assert check(layers, state, odd.statistic).status == "fine"
    assert check(layers, state, odd.statistic / 3).status == "odd"
    assert max(extremes(layers, state).values()) == odd.statistic


def test_a_magnified_output_is_odd():
    state = linear()
    state["fc.weight"] *= 100
    assert judged(state).where == "fc.weight"


@pytest.mark.parametrize("leaf", ["weight", "bias"])
def test_a_magnified_norm_is_odd(leaf):
    state = convolutional()
    state[f"bn.{leaf}"][0] = -30
    assert judged(state).where == f"bn.{leaf}"
