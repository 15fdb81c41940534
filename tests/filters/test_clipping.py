"""Tests of medleak.filters.clipping."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from medleak.filters.clipping import clipping_factor, global_l1_norm, global_l2_norm

finite = st.floats(-1e3, 1e3, width=32)
updates = st.dictionaries(st.text(min_size=1), arrays(np.float32, (3, 2), elements=finite))


def test_three_four_five():
    update = {"w": np.array([3.0], np.float32), "b": np.array(-4.0, np.float32)}
    assert global_l2_norm(update) == 5.0
    assert global_l1_norm(update) == 7.0


@given(updates)
def test_norms_agree_with_numpy(update):
    flat = np.concatenate([np.zeros(1), *(v.ravel() for v in update.values())])
    assert global_l2_norm(update) == pytest.approx(np.linalg.norm(flat))
    assert global_l1_norm(update) == pytest.approx(np.linalg.norm(flat, 1))


def test_norms_are_summed_in_float64():
    assert global_l2_norm({"w": np.full(10**6, 1e-25, np.float32)}) == pytest.approx(1e-22)
    assert global_l1_norm({"w": np.full(10**6, 0.1, np.float16)}) == pytest.approx(1e5, rel=1e-3)


@pytest.mark.parametrize(("norm", "factor"), [(0.0, 1.0), (0.5, 1.0), (1.0, 1.0), (4.0, 0.25)])
def test_only_what_is_too_long_is_shortened(norm, factor):
    assert clipping_factor(norm, 1.0) == factor
