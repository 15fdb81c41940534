"""Tests of what the compressing defences share."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medleak.filters.tensorwise import each_tensor, kept


def ranks(flat):
    """Something that depends on the whole tensor."""
    return np.argsort(np.argsort(flat)).astype(flat.dtype)


def test_each_tensor_is_compressed_by_itself_in_its_own_shape():
    update = {
        "a.weight": np.array([[3.0, 1.0], [2.0, 0.0]], np.float32),
        "b.weight": np.array([30.0, 10.0], np.float32),
        "scale": np.float32(7),
        "empty": np.zeros((0, 3), np.float32),
    }
    sent = each_tensor(update, ranks, "pass", None)
    np.testing.assert_array_equal(sent["a.weight"], [[3, 1], [2, 0]])
    np.testing.assert_array_equal(sent["b.weight"], [1, 0])
    assert type(sent["scale"]) is np.float32
    assert sent["scale"] == 0
    assert sent["empty"] is update["empty"]


@pytest.mark.parametrize(("buffers", "ranked"), [("noise", True), ("pass", False)])
def test_statistics_are_compressed_only_if_buffers_say_so(buffers, ranked, update, global_state):
    sent = each_tensor(update, ranks, buffers, global_state)
    mean = "bn1.running_mean"
    expected = ranks(update[mean]) if ranked else update[mean]
    np.testing.assert_array_equal(sent[mean], expected)


def test_a_tenth_of_twenty_entries_is_two_and_of_three_still_one():
    assert [kept(n, 0.1) for n in (20, 3, 1)] == [2, 1, 1]


@given(st.integers(1, 10**6), st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_at_least_one_entry_is_kept_and_never_more_than_there_are(size, fraction):
    assert 1 <= kept(size, fraction) <= size
    assert abs(kept(size, fraction) - size * fraction) <= 1
