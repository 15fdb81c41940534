"""Tests of medleak.filters.clipping."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from medleak.filters.clipping import clipping_factor, global_l1_norm, global_l2_norm
from medleak.filters.defences.clipped_gaussian import ClippedGaussian
from medleak.filters.defences.clipped_laplace import ClippedLaplace
from medleak.filters.noise import NoiseSource
from medleak.filters.update import UpdateError

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


@pytest.mark.parametrize("size", [1e-320, 1e-200, 1e-100, 1.0, 1e100, 1e200, 1e306])
def test_norms_neither_overflow_nor_underflow(size):
    update = {"w": np.full(16, size), "v": np.zeros(3, np.float32)}
    assert global_l2_norm(update) == pytest.approx(4 * size, rel=1e-3)
    assert global_l1_norm(update) == pytest.approx(16 * size, rel=1e-3)


@pytest.mark.parametrize("size", [1e-170, 1e-90, 1e90, 1e170, 1e200])
@pytest.mark.parametrize("kind", [ClippedGaussian, ClippedLaplace])
def test_a_clipped_update_has_at_most_its_bound_at_the_ends_of_float64(kind, size, monkeypatch):
    seen = []

    def add(value, scale, source, *, factor, name):
        seen.append(np.asarray(value, np.longdouble) * factor)
        return value

    monkeypatch.setattr(kind, "add", staticmethod(add))
    bound = size * 1e-9
    kind(max_grad_norm=bound, noise_multiplier=1.0)(
        {"w": np.full(10, size)}, rng=NoiseSource.secure(), global_state={"w": np.zeros(10)}
    )
    power = 2 if kind is ClippedGaussian else 1
    norm = float(((np.abs(seen[0]) / bound) ** power).sum() ** (1 / power))
    assert norm == pytest.approx(1, rel=1e-9)


def test_a_norm_beyond_float64_is_refused():
    with pytest.raises(UpdateError, match="cannot be bounded"):
        clipping_factor(float("inf"), 1.0)
