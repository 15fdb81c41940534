"""Tests of made-up weights: of the size and kind that training would send."""

import numpy as np
import pytest
from nvflare.apis.dxo import DataKind, from_shareable

from medleak.custom.flare.checking.made_up import equal, made_up, result, transfer

STATE = {
    "w": np.ones((3, 4), np.float32),
    "bn.running_var": np.full(4, 2.0, np.float32),
    "bn.num_batches_tracked": np.array(5, np.int64),
}


def test_an_update_has_the_models_names_and_types_and_is_small():
    update = made_up(STATE, 0)
    assert {n: (v.shape, v.dtype) for n, v in update.items()} == {
        n: (v.shape, v.dtype) for n, v in STATE.items()
    }
    assert 0 < np.abs(update["w"]).max() < 0.02
    assert update["bn.num_batches_tracked"] == 1
    assert (STATE["bn.running_var"] + update["bn.running_var"] > 0).all()
    assert not equal(update["w"], made_up(STATE, 1)["w"])


@pytest.mark.parametrize("kind", ["DIFF", "FULL"])
def test_whole_weights_and_differences_tell_the_same_update(kind):
    update = made_up(STATE, 0)
    sent = from_shareable(result(STATE, update, kind, declared=True))
    assert sent.data_kind == (DataKind.WEIGHTS if kind == "FULL" else DataKind.WEIGHT_DIFF)
    assert (sent.meta or {})["hp"]["batch_size"] == 8
    for name, value in sent.data.items():
        assert equal(value - (STATE[name] if kind == "FULL" else 0), update[name])


def test_what_an_executor_sends_is_the_jobs_word_else_its_own_default():
    class Says:
        def __init__(self, params_transfer_type="DIFF"):
            pass

    entry = {"tasks": ["train"], "executor": {"args": {"params_transfer_type": "FULL"}}}
    assert transfer({"executors": [entry]}, "train", Says()) == "FULL"
    assert transfer({"executors": [entry]}, "other", Says()) == "DIFF"
    assert transfer({}, "train", object()) is None
