"""Tests of an update as it reaches the server: what it is, and what is refused or left out."""

import tracemalloc

import numpy as np
import pytest
import torch
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.shareable import Shareable
from nvflare.app_common.app_constant import AppConstants
from tests.custom.flare.server import MODEL, UPDATE, Server, server

from medleak.custom.flare.received import encrypted, update_of
from medleak.custom.record import (
    RecordError,
    UpdateInfo,
    list_updates,
    read_beside,
    read_manifest,
    read_record,
    strays,
    utc_now,
    verify,
    write_global,
    write_update,
)
from medleak.custom.record.sent_models import SentModel
from medleak.filters.privacy.controls import CONTROLS, SERVERS

__all__ = ["server"]

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


@pytest.fixture
def vector():
    """A number that only the holder of the key can read."""
    tenseal = pytest.importorskip("tenseal", reason="needs the extra he")
    context = tenseal.context(tenseal.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[60, 40, 40, 60])
    context.global_scale = 2.0**40
    return tenseal.ckks_vector(context, [0.5] * 4)


def test_encrypted_updates_are_said_to_be_left_out_and_the_job_goes_on(server, vector):
    for round, model in enumerate([MODEL, {"w": vector}]):
        server.send(round=round, model=model)
        reply = server.receive(round=round, update={"w": vector})
        assert isinstance(reply, Shareable)
    assert list_updates(server.records) == []
    reasons = [(x.round, x.reason) for x in read_manifest(server.records).left_out]
    nothing = "encrypted homomorphically: there is nothing to audit at the server"
    assert reasons == [(0, nothing), (1, nothing)]


def test_an_update_that_is_encrypted_in_part_is_not_called_unreadable(server, vector):
    server.send()
    server.receive(update={**UPDATE, "w": vector})
    (left_out,) = read_manifest(server.records).left_out
    assert left_out.reason.startswith("1 of 2 tensors are encrypted")
    assert "nothing to audit" not in left_out.reason


def test_an_unknown_payload_stops_the_job(server):
    server.send()
    with pytest.raises(RecordError, match="cannot be recorded"):
        server.receive(kind=DataKind.ANALYTIC)


ODD = {
    "bool": ({**UPDATE, "bn.num_batches_tracked": np.array(True)}, "bool"),
    "sparse": ({**UPDATE, "w": torch.ones(4).to_sparse()}, "sparse"),
    "nested": ({**UPDATE, "w": {"a": np.ones(4)}}, "collection"),
    "another name": ({**UPDATE, "x": np.ones(4)}, "not in the model"),
    "another shape": ({**UPDATE, "w": np.ones(1, np.float32)}, "has shape"),
    "NaN": ({**UPDATE, "w": np.full(4, np.nan, np.float32)}, "NaN or inf"),
    "wrapped": ({**UPDATE, "bn.num_batches_tracked": np.array(2**63 - 1)}, "wrapped around"),
}


# A whole weight may be any of its type: the difference is computed here, and cannot wrap.
_OF_A_DIFFERENCE = ("wrapped", "bool")


@pytest.mark.parametrize(
    ("what", "kind"),
    [(w, k) for w in ODD for k in ("WEIGHT_DIFF", "WEIGHTS")[: 2 - (w in _OF_A_DIFFERENCE)]],
)
def test_what_cannot_be_read_back_is_refused_by_name_before_anything_is_written(server, what, kind):
    update, words = ODD[what]
    server.send()
    with pytest.raises(RecordError, match=f"Round 0, site site-1: .*{words}"):
        server.receive(update=update, kind=kind)
    assert not list(server.records.glob("round_*"))


def test_short_floats_are_recorded_exactly_as_difference_and_as_whole_weights(tmp_path):
    for dtype in (torch.bfloat16, torch.float16):
        sent, local = torch.tensor([1.0, 3.0]).to(dtype), torch.tensor([0.1, 3.0]).to(dtype)
        for kind, value in ((DataKind.WEIGHT_DIFF, local), (DataKind.WEIGHTS, local)):
            server = Server(tmp_path / f"{dtype}-{kind}")
            server.send(model={"w": sent})
            server.receive(update={"w": value}, kind=kind)
            found = read_record(server.records, 0, "site-1")
            whole = kind == DataKind.WEIGHTS
            expected = local.double() - (sent.double() if whole else 0)
            np.testing.assert_array_equal(found.update["w"].astype(float), expected.numpy())
            np.testing.assert_array_equal(found.global_state["w"].astype(float), sent.double())


def test_full_weights_are_recorded_as_their_difference(server):
    server.send()
    server.receive(update={"w": MODEL["w"] + 2}, kind=DataKind.WEIGHTS)
    np.testing.assert_array_equal(read_record(server.records, 0, "site-1").update["w"], [2.0] * 4)


def scaffold(server, controls, **meta):
    """A round of SCAFFOLD: the server's control is 0.25, K times lr is 0.02."""
    data = DXO(DataKind.WEIGHTS, data=MODEL, meta={SERVERS: {"w": np.full(4, 0.25, np.float32)}})
    task = data.to_shareable()
    task.set_header(AppConstants.CURRENT_ROUND, 0)
    server.fire(EventType.AFTER_TASK_DATA_FILTER, **{FLContextKey.TASK_DATA: task})
    server.receive(**{CONTROLS: {"w": torch.as_tensor(controls, dtype=torch.float32)}, **meta})


def test_control_variates_are_recorded_under_their_own_name(server):
    bare = -0.25 - UPDATE["w"] / 0.01
    scaffold(server, bare)
    assert list_updates(server.records) == [(0, "site-1")]
    beside = read_beside(server.records, 0, "site-1")
    np.testing.assert_array_equal(beside[CONTROLS]["w"], bare.astype(np.float32))
    assert all(error is None for _, _, error in verify(server.records))
    assert strays(server.records) == []
    file = server.records / "round_0000" / "beside" / "site-1.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    assert "SHA-256" in next(e for _, _, e in verify(server.records) if e)


def test_control_variates_in_clear_beside_a_noised_update_are_recorded_as_the_update(server):
    bare = np.array([1, -2, 3, -4], np.float32)
    noise = [{"name": "percentile_gaussian"}]
    scaffold(server, -0.25 - bare / 0.01, medleak_defences=noise)
    assert list_updates(server.records) == [(0, "site-1"), (0, f"site-1.{CONTROLS}")]
    found = read_record(server.records, 0, f"site-1.{CONTROLS}")
    np.testing.assert_allclose(found.update["w"], bare, rtol=1e-5)
    assert found.info.defences == ()
    assert found.info.lr == 0.01


def test_without_a_schedule_the_size_of_what_they_tell_is_unknown_and_said(server):
    scaffold(server, np.array([1, -2, 3, -4]), hp=None)
    assert list_updates(server.records) == [(0, "site-1")]
    (left_out,) = read_manifest(server.records).left_out
    assert left_out.site == f"site-1.{CONTROLS}"
    assert "tells another update" in left_out.reason
