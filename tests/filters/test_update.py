"""Tests of medleak.filters.update."""

import numpy as np
import pytest

from medleak.filters.update import UpdateError, check_update, kinds


def test_kinds_go_by_name():
    assert kinds(
        [
            *("bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var"),
            *("bn1.num_batches_tracked", "norm.weight", "fc.weight", "running_mean_head.weight"),
        ]
    ) == {
        "bn1.weight": "bn_affine",
        "bn1.bias": "bn_affine",
        "bn1.running_mean": "running_mean",
        "bn1.running_var": "running_var",
        "bn1.num_batches_tracked": "counter",
        "norm.weight": "weight",
        "fc.weight": "weight",
        "running_mean_head.weight": "weight",
    }


def test_a_sound_update_passes(update, global_state):
    check_update(update, global_state)
    check_update(update)
    del global_state["fc.weight"]
    with pytest.raises(UpdateError, match=r"no entry fc\.weight"):
        check_update(update, global_state)


@pytest.mark.parametrize(
    ("before", "count"),
    [
        (np.int64(17), np.int64(2)),
        (np.array(17), np.array(2)),
        # FedAvg turned the global counter into 17.25; the client counts on from 17.
        (np.float32(17.25), np.float32(1.75)),
        (np.array([17.25]), np.array([0.75])),
    ],
)
def test_counters_may_be_whole_or_relative_to_an_averaged_float(
    update, global_state, before, count
):
    for layer in ("bn1", "layer1.bn2"):
        global_state[f"{layer}.num_batches_tracked"] = before
        update[f"{layer}.num_batches_tracked"] = count
    check_update(update, global_state)
    update["bn1.num_batches_tracked"] = count + 0.5
    with pytest.raises(UpdateError, match="not a whole number"):
        check_update(update, global_state)


BROKEN = {
    "nan": ("fc.weight", np.full((40, 512), np.nan, np.float32), "NaN or inf in fc.weight"),
    "inf": ("temperature", np.array(np.inf, np.float32), "NaN or inf in temperature"),
    "nan counter": ("bn1.num_batches_tracked", np.array(np.nan), "NaN or inf"),
    "integer weights": ("fc.weight", np.ones((40, 512), np.int64), "dtype int64"),
    "complex": ("fc.weight", np.ones((40, 512), np.complex64), "dtype complex64"),
    "objects": ("fc.weight", np.empty((40, 512), object), "dtype object"),
    "list": ("fc.weight", [0.0], "is a list, not a numpy array"),
    "python float": ("temperature", 0.5, "is a float, not a numpy array"),
    "shape": ("fc.weight", np.ones((512, 40), np.float32), r"has shape \(512, 40\)"),
    "new name": ("fc2.weight", np.ones(3, np.float32), "no entry fc2.weight"),
    "weights named as counter": ("bn1.num_batches_tracked", np.ones(999), "one number"),
    "text counter": ("bn1.num_batches_tracked", np.array("7"), "one number"),
    "noised counter": ("bn1.num_batches_tracked", np.array(3.9), "not a whole number"),
    "negative counter": ("bn1.num_batches_tracked", np.array(-20.25), "not a whole number"),
    "name that is no text": (3, np.ones(3, np.float32), "no text"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_an_entry_that_cannot_be_protected_is_refused_by_name(case, update, global_state):
    name, value, message = BROKEN[case]
    with pytest.raises(UpdateError, match=message):
        check_update({**update, name: value}, global_state)


def test_an_empty_or_zero_update_is_refused(update):
    with pytest.raises(UpdateError, match="empty"):
        check_update({})
    zero = {n: v if n.endswith("tracked") else np.zeros_like(v) for n, v in update.items()}
    with pytest.raises(UpdateError, match="zero in every entry"):
        check_update(zero)
