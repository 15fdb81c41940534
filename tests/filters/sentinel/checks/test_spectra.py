"""Tests of medleak.filters.sentinel.checks.spectra."""

import numpy as np
import pytest
from tests.filters.sentinel.models import linear

from medleak.filters.sentinel.checks.spectra import check, ranks, stable_rank
from medleak.filters.sentinel.layers import layers_of


def hidden(state):
    return next(x for x in layers_of(state) if x.name == "hidden.weight")


def test_the_stable_rank_is_that_of_a_singular_value_decomposition():
    state = linear()
    state["hidden.weight"] += 0.02 * np.ones((64, 1), np.float32)
    exact = np.linalg.svd(state["hidden.weight"], compute_uv=False)
    assert stable_rank(hidden(state)) == pytest.approx((exact**2).sum() / exact[0] ** 2, rel=0.02)


def test_it_is_one_of_copies_and_of_nothing():
    state = linear()
    state["hidden.weight"][:] = state["hidden.weight"][0]
    assert stable_rank(hidden(state)) == pytest.approx(1, abs=1e-4)
    state["hidden.weight"][:] = 0
    assert stable_rank(hidden(state)) == 1.0


def test_a_rank_that_leaves_the_band_is_odd():
    state, trap = linear(), linear()
    trap["hidden.weight"][:] = trap["hidden.weight"][0]
    before, now = (ranks(list(layers_of(s))) for s in (state, trap))
    band = {n: (v, v) for n, v in before.items()}
    assert check(before, None).status == "not examined"
    assert check(before, band).status == "fine"
    assert check(now, band).status == "odd"
    assert check({}, band).status == "nothing there"
