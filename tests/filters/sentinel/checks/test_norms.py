"""Tests of medleak.filters.sentinel.checks.norms."""

import numpy as np
import pytest
from tests.filters.sentinel.models import convolutional, linear

from medleak.filters.sentinel.checks.norms import check, levels


def band(state):
    return {n: (v, v) for n, v in levels(state).items()}


def test_the_level_is_the_mean_logarithm_of_spread_over_norm():
    state = convolutional()
    norms = np.linalg.norm(state["conv.weight"].reshape(32, -1), axis=1)
    assert levels(state)["bn"] == pytest.approx(-np.log(norms).mean(), abs=1e-6)


def test_weights_that_were_scaled_without_their_statistics_are_odd():
    state = convolutional()
    scaled = {**state, "conv.weight": state["conv.weight"] * 30}
    assert check(state, levels(state), None).status == "not examined"
    assert check(state, levels(state), band(state)).status == "fine"
    assert check(scaled, levels(scaled), band(state)).status == "odd"


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_an_impossible_variance_is_odd_at_first_sight(bad):
    state = convolutional()
    state["bn.running_var"][3] = bad
    assert check(state, levels(state), None).status == "odd"


def test_a_network_without_statistics_has_nothing_there():
    assert check(linear(), levels(linear()), None).status == "nothing there"
