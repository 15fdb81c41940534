"""Tests of medleak.filters.sentinel.checks.rows."""

import numpy as np
import pytest
from tests.filters.sentinel.models import linear

from medleak.filters.sentinel.checks.rows import ALIKE, check, repeated
from medleak.filters.sentinel.layers import layers_of


def judged(state, seed=0):
    return check(list(layers_of(state)), np.random.default_rng(seed))


def test_random_rows_are_no_ones_copy():
    assert judged(linear()).statistic == 0.0


@pytest.mark.parametrize("count", [6, 32])
def test_scaled_permuted_and_turned_copies_are_found(count):
    state, rng = linear(), np.random.default_rng(1)
    chosen = rng.permutation(64)[:count]
    scale = rng.uniform(0.1, 10, count) * rng.choice([-1, 1], count)
    state["hidden.weight"][chosen] = scale[:, None] * state["hidden.weight"][0]
    found = judged(state)
    assert found.status == "odd"
    assert found.where == "hidden.weight"


def test_the_sketch_finds_what_all_pairs_find():
    state, rng = linear(), np.random.default_rng(2)
    weight = state["hidden.weight"]
    weight[:20] = weight[40:60] + 0.2 * rng.normal(size=(20, 400)) * weight.std()
    unit = weight / np.linalg.norm(weight, axis=1, keepdims=True)
    cosines = np.abs(unit @ unit.T) - np.eye(64)
    (layer,) = (x for x in layers_of(state) if x.name == "hidden.weight")
    assert repeated(layer, rng) == (cosines.max(1) > ALIKE).mean() > 0


def test_rows_of_one_entry_are_odd():
    state = linear()
    state["hidden.weight"][:8] = np.eye(8, 400)
    assert judged(state).status == "odd"


def test_outputs_of_two_classes_may_mirror_each_other():
    state = linear()
    state["fc.weight"][1] = -state["fc.weight"][0]
    assert judged(state).status == "fine"
    assert check([]).status == "nothing there"
