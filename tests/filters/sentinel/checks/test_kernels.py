"""Tests of medleak.filters.sentinel.checks.kernels."""

import numpy as np
from tests.filters.sentinel.models import convolutional, linear

from medleak.filters.sentinel.checks.kernels import check
from medleak.filters.sentinel.layers import layers_of


def judged(state):
    return check(list(layers_of(state)))


def test_dense_kernels_are_fine():
    assert judged({**linear(), **convolutional()}).statistic == 0.0


def test_kernels_of_one_tap_are_odd_with_noise_on_them_too():
    state = convolutional()
    tap = np.zeros((4, 8, 3, 3), np.float32)
    tap[:, :, 1, 1] = 1.0
    state["conv.weight"][:4] = tap + np.random.default_rng(0).normal(size=tap.shape) * 0.05
    assert judged(state).status == "odd"


def test_weights_that_are_exactly_zero_are_odd():
    state = linear()
    state["hidden.weight"][:, 300:] = 0
    found = judged(state)
    assert (found.status, round(found.statistic or 0, 2)) == ("odd", 0.25)


def test_without_weights_nothing_is_there():
    assert judged({"bias": np.zeros(3, np.float32)}).status == "nothing there"
