"""Tests of an update as it reaches the server, before anything is written."""

import tracemalloc

import numpy as np
import pytest
from nvflare.apis.dxo import DXO, DataKind

from medleak.custom.flare.received import encrypted, update_of
from medleak.custom.record import RecordError, UpdateInfo, utc_now, write_global, write_update
from medleak.custom.record.sent_models import SentModel

SENT = SentModel(0, {"w": np.ones(2, np.float32)})


def test_weights_become_their_difference_and_differences_stay():
    whole = DXO(DataKind.WEIGHTS, data={"w": np.full(2, 3, np.float32)})
    np.testing.assert_array_equal(update_of("x", whole, SENT)["w"], [2, 2])
    diff = DXO(DataKind.WEIGHT_DIFF, data={"w": np.full(2, 3, np.float32)})
    np.testing.assert_array_equal(update_of("x", diff, SENT)["w"], [3, 3])


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (DataKind.METRICS, {"loss": 1.0}),
        (DataKind.WEIGHT_DIFF, {"other": np.ones(2, np.float32)}),
        (DataKind.WEIGHT_DIFF, {"w": np.ones(3, np.float32)}),
    ],
)
def test_what_is_no_update_of_the_model_is_refused_by_name(kind, data):
    with pytest.raises(RecordError, match="Round 1, site a"):
        update_of("Round 1, site a", DXO(kind, data=data), SENT)


class Lazy:
    """A tensor that is read when it is asked for, as NVFlare keeps those that it put on disk."""

    def __init__(self, make):
        self.make = make

    def materialize(self):
        return self.make()


@pytest.mark.parametrize(
    ("kind", "lazy", "most"),
    [
        (DataKind.WEIGHT_DIFF, False, 0.2),
        (DataKind.WEIGHT_DIFF, True, 1.3),
        (DataKind.WEIGHTS, False, 1.3),
        (DataKind.WEIGHTS, True, 1.3),
    ],
)
def test_a_large_update_is_taken_and_written_in_little_memory(tmp_path, kind, lazy, most):
    size, n = 500_000, 16
    model = {f"w{k}": np.ones(size, np.float32) for k in range(n)}
    sent = SentModel(0, model)
    digest = write_global(tmp_path, 0, model)

    def tensor(k):
        return np.full(size, 2 + k, np.float32)

    data = {
        name: Lazy(lambda k=k: tensor(k)) if lazy else tensor(k) for k, name in enumerate(model)
    }
    dxo = DXO(kind, data=data)
    tracemalloc.start()
    try:
        update = update_of("here", dxo, sent)
        write_update(tmp_path, UpdateInfo(round=0, site="a", time=utc_now()), digest, update)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < most * 4 * size * n
    whole = kind == DataKind.WEIGHTS
    np.testing.assert_array_equal(update["w3"][:2], [5 - whole] * 2)


def test_what_is_in_clear_is_not_encrypted():
    assert encrypted(DXO(DataKind.WEIGHT_DIFF, data={"w": np.ones(2)})) == ""
