"""Tests of medleak.filters.sentinel.checks.asymmetry."""

import numpy as np
from tests.filters.sentinel.models import linear

from medleak.filters.sentinel.checks.asymmetry import check, lean, mirrored
from medleak.filters.sentinel.layers import layers_of


def hidden(state):
    return next(x for x in layers_of(state) if x.name == "hidden.weight")


def judged(state):
    return check(list(layers_of(state)), np.random.default_rng(0))


def test_weights_as_pytorch_starts_them_are_fine():
    assert judged(linear()).status == "fine"
    assert mirrored(hidden(linear()), np.random.default_rng(0)) == 0.0


def test_rows_whose_halves_mirror_each_other_are_odd():
    state, rng = linear(), np.random.default_rng(3)
    for row in state["hidden.weight"]:
        low = -np.abs(rng.normal(size=200))
        row[:] = rng.permutation(np.concatenate([low, -0.97 * low])) / 20
    assert mirrored(hidden(state), rng) == 1.0
    assert judged(state).status == "odd"


def test_fresh_rows_that_all_lean_one_way_are_odd():
    state = linear()
    weight = state["hidden.weight"]
    state["hidden.weight"] = np.clip(weight - 0.3 * np.abs(weight).mean(), -0.05, 0.05)
    assert lean(hidden(state)) > 6
    assert judged(state).status == "odd"


def test_of_trained_rows_no_lean_is_known():
    state = linear()
    state["hidden.weight"] -= 0.04
    assert lean(hidden(state)) == 0.0
