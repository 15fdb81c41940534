"""Tests of what every defence does around its own step."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medleak.filters.buffers import VARIANCE_FLOOR, keep_variances_positive, protect_entries
from medleak.filters.update import UpdateError, kinds


def doubled(chosen, _):
    return {n: 2 * np.asarray(v) for n, v in chosen.items()}


@pytest.mark.parametrize(
    ("buffers", "changed", "left_out"),
    [
        ("noise", {"weight", "bn_affine", "running_mean", "running_var"}, set()),
        ("drop", {"weight", "bn_affine"}, {"running_mean", "running_var", "counter"}),
        ("pass", {"weight", "bn_affine"}, set()),
    ],
)
def test_buffers_select_what_the_step_sees_and_what_leaves(
    buffers, changed, left_out, update, global_state
):
    seen = []

    def step(chosen, kind_of):
        seen.extend(kind_of[n] for n in chosen)
        return doubled(chosen, kind_of)

    sent = protect_entries(update, step, buffers=buffers, global_state=global_state)
    kind_of = kinds(update)
    assert set(seen) == changed
    assert {kind_of[n] for n in update.keys() - sent.keys()} == left_out
    assert list(sent) == [n for n in update if n in sent]
    for name, value in sent.items():
        if kind_of[name] not in changed:
            assert value is update[name]
        elif kind_of[name] != "running_var":
            np.testing.assert_array_equal(value, 2 * update[name])


def test_an_update_of_statistics_alone_leaves_nothing_to_protect_and_stays(update, global_state):
    statistics = {n: v for n, v in update.items() if "running" in n}
    with pytest.raises(UpdateError, match='buffers="drop" no entry is left to protect'):
        protect_entries(statistics, doubled, buffers="drop", global_state=global_state)


def test_a_variance_of_one_keeps_a_thousandth_whatever_the_noise_takes():
    kept = keep_variances_positive(
        {"bn.running_var": np.array([-5.0, -0.5, 3.0])},
        {"bn.running_var": "running_var"},
        {"bn.running_var": np.ones(3)},
    )
    np.testing.assert_array_equal(kept["bn.running_var"], [VARIANCE_FLOOR - 1, -0.5, 3.0])


@given(
    st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=8),
    st.floats(-1e6, 1e6, width=32),
)
def test_the_sum_that_the_server_forms_in_float32_is_never_negative(variances, noise):
    variance = np.array(variances, np.float32)
    kept = keep_variances_positive(
        {"bn.running_var": np.full_like(variance, noise)},
        {"bn.running_var": "running_var"},
        {"bn.running_var": variance},
    )
    assert (variance + kept["bn.running_var"] >= 0).all()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (None, "cannot be noised without the global model"),
        ({}, "cannot be noised without the global model"),
        ({"bn.running_var": np.array([-1.0])}, "is negative"),
        ({"bn.running_var": np.array([np.nan])}, "not finite"),
        ({"bn.running_var": np.ones(2)}, "of another shape"),
    ],
)
def test_without_a_sound_global_variance_nothing_is_sent(state, message):
    with pytest.raises(UpdateError, match=message):
        keep_variances_positive(
            {"bn.running_var": np.ones(1)}, {"bn.running_var": "running_var"}, state
        )
