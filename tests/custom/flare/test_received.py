"""Tests of an update as it reaches the server, before anything is written."""

import numpy as np
import pytest
from nvflare.apis.dxo import DXO, DataKind

from medleak.custom.flare.received import encrypted, update_of
from medleak.custom.record import RecordError
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


def test_what_is_in_clear_is_not_encrypted():
    assert encrypted(DXO(DataKind.WEIGHT_DIFF, data={"w": np.ones(2)})) == ""
