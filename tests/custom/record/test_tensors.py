"""Tests of what a record holds: dense, finite numbers, exactly; all else is refused by name."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.numpy import save
from safetensors.torch import save as save_of_torch

from medleak.custom.record import tensors
from medleak.custom.record.tensors import RecordError


def test_scalars_and_strides_become_plain_arrays():
    made = tensors.as_arrays("here", {"a": np.float32(2), "b": np.ones((2, 3)).T, "c": 3})
    found = tensors.of_bytes(b"".join(tensors.chunks_of(made)))
    assert found["a"].shape == found["c"].shape == ()
    assert found["b"].shape == (3, 2)
    assert found["b"].flags.c_contiguous


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_floats_of_torch_are_kept_exactly(dtype):
    values = torch.randn(64, generator=torch.Generator().manual_seed(0)).to(dtype)
    made = tensors.as_arrays("here", {"w": values.requires_grad_()})
    found = tensors.of_bytes(b"".join(tensors.chunks_of(made)))["w"]
    np.testing.assert_array_equal(found.astype(np.float64), values.detach().double().numpy())
    if dtype != torch.bfloat16:
        assert torch.from_numpy(found.copy()).dtype == dtype


def test_a_file_with_bfloat16_reads_as_its_exact_values():
    values = torch.tensor([1.5, -3e38, 1e-40, 0.1], dtype=torch.bfloat16)
    found = tensors.of_bytes(save_of_torch({"w": values}))["w"]
    np.testing.assert_array_equal(found, values.float().numpy())
    assert found.dtype == np.float32


@pytest.mark.parametrize("kind", [*"biu"])
@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_every_type_of_integer_reads_back(kind, size):
    dtype = np.dtype(bool) if kind == "b" else np.dtype(f"{kind}{size}")
    value = np.array([0, 1, 1], dtype)
    found = tensors.of_bytes(b"".join(tensors.chunks_of({"w": value})))["w"]
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, value)


NO_TENSORS = {
    "nested": lambda: {"k": np.ones(2)},
    "list": lambda: [1.0, 2.0],
    "text": lambda: "1.0",
    "none": lambda: None,
    "objects": lambda: np.array([None, 1]),
    "complex": lambda: np.ones(2, np.complex64),
    "long double": lambda: np.ones(2, np.longdouble),
    "sparse": lambda: torch.ones(4).to_sparse(),
    "sparse rows": lambda: torch.ones(2, 2).to_sparse_csr(),
    "nested tensor": lambda: torch.nested.nested_tensor([torch.ones(1), torch.ones(2)]),
    "meta": lambda: torch.ones(2, device="meta"),
    "quantised": lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
    "complex of torch": lambda: torch.ones(2, dtype=torch.complex64),
}


@pytest.mark.filterwarnings("ignore")  # torch's, of what it calls a beta or deprecated
@pytest.mark.parametrize("what", NO_TENSORS)
def test_what_is_no_tensor_of_a_record_is_refused_with_its_name(what):
    with pytest.raises(RecordError, match=r"^Round 3, site a: 'fc\.w' is .*does not hold\. Send"):
        tensors.as_arrays("Round 3, site a", {"fc.w": NO_TENSORS[what]()})


@pytest.mark.parametrize("name", [3, "", "__metadata__", "a\ud800", None])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(RecordError, match=r"here: .*is no name of a tensor"):
        tensors.as_arrays("here", {name: np.ones(1)})


def test_a_difference_is_exact_for_integers_booleans_and_short_floats():
    sent = {
        "q": np.array([250, 0], np.uint8),
        "m": np.array([True, False]),
        "h": np.array([1000.0, 1.0], np.float16),
        "n": np.array(3.5, np.float64),
        "w": np.array([1.0], np.float32),
    }
    local = {
        "q": np.array([249, 255], np.uint8),
        "m": np.array([False, True]),
        "h": np.array([0.1, 1.0], np.float16),
        "n": np.array(7, np.int64),
        "w": np.array([1.5], np.float32),
    }
    found = tensors.difference("here", local, sent)
    assert found["q"].tolist() == [-1, 255]
    assert found["m"].tolist() == [-1, 1]
    assert found["h"].tolist() == [float(np.float16(0.1)) - 1000.0, 0.0]
    assert found["n"] == 3.5
    assert found["w"].dtype == np.float32
    tensors.check_update("here", sent, found)


def test_a_difference_of_what_does_not_belong_together_is_refused_and_not_broadcast():
    sent = {"w": np.ones(4)}
    for local, words in (({"w": np.ones(1)}, "has shape"), ({"x": np.ones(4)}, "not in the model")):
        with pytest.raises(RecordError, match=f"here: .*{words}"):
            tensors.difference("here", local, sent)
    with pytest.raises(RecordError, match=r"'n' is an integer above 2\^63"):
        tensors.difference("here", {"n": np.array(2**63, np.uint64)}, {"n": np.array(0, np.uint64)})


@pytest.mark.parametrize(
    ("update", "message"),
    [
        ({}, "update is empty"),
        ({"b": np.zeros(2)}, "not in the model"),
        ({"a": np.zeros(3)}, "has shape"),
        ({"a": np.array([0.0, np.inf])}, "the update holds NaN or inf"),
        ({"a": np.array([True, False])}, "'a' is of type bool"),
    ],
)
def test_an_update_that_does_not_belong_to_the_model_is_refused(update, message):
    tensors.check_update("here", {"a": np.zeros(2)}, {"a": np.ones(2)})
    with pytest.raises(RecordError, match=f"here: .*{message}"):
        tensors.check_update("here", {"a": np.zeros(2)}, update)
    with pytest.raises(RecordError, match="the model holds NaN or inf in 'a'"):
        tensors.check_update("here", {"a": np.full(2, np.nan)}, {"a": np.ones(2)})


@given(st.sampled_from(["i1", "u1", "i2", "u2"]), st.data())
def test_a_difference_that_wrapped_is_always_noticed(kind, data):
    limits = np.iinfo(kind)
    numbers = st.integers(int(limits.min), int(limits.max))
    before, after = data.draw(numbers), data.draw(numbers)
    sent = {"q": np.array([before], kind)}
    with np.errstate(over="ignore"):
        update = {"q": np.array([after], kind) - sent["q"]}
    if int(update["q"][0]) == after - before:
        tensors.check_update("here", sent, update)
    else:
        with pytest.raises(RecordError, match="has wrapped around"):
            tensors.check_update("here", sent, update)


def test_a_counter_of_64_bits_that_wrapped_is_noticed():
    sent = {"n": np.array([5], np.uint64)}
    tensors.check_update("here", sent, {"n": np.array([3], np.uint64)})
    with pytest.raises(RecordError, match="has wrapped around"):
        tensors.check_update("here", sent, {"n": np.array([2**64 - 1], np.uint64)})


def test_bytes_that_are_no_safetensors_are_an_error():
    with pytest.raises(SafetensorError):
        tensors.of_bytes(b"no tensors")


def test_values_that_are_not_finite_are_named():
    with pytest.raises(RecordError, match="here: the thing holds NaN or inf in 'b'"):
        tensors.check_finite("here", "thing", {"a": np.ones(2), "b": np.array([np.nan])})
    tensors.check_names("here", {"a": np.ones(2)}, {"a": np.zeros(2)})


def test_a_file_is_the_one_that_safetensors_writes_and_no_copy_of_the_tensors():
    rng = np.random.default_rng(0)
    made = {
        "b.weight": rng.random((3, 4), np.float32),
        "a.weight": rng.random((3, 4), np.float32),
        "half": rng.random(5).astype(np.float16),
        "wide": rng.random((2, 0, 3)),
        "count": np.array(3, np.int64),
        "mask": np.array([True, False]),
        "größe": np.arange(3, dtype=np.uint8),
    }
    chunks = tensors.chunks_of(made)
    assert b"".join(chunks) == save(made)
    views = [np.frombuffer(chunk, np.uint8) for chunk in chunks]
    assert any(np.shares_memory(view, made["a.weight"]) for view in views)


def test_bytes_in_the_other_order_and_strides_are_written_as_their_values():
    made = {"big": np.arange(4, dtype=">f4"), "strided": np.arange(6, dtype=np.float32)[::2]}
    found = tensors.of_bytes(b"".join(tensors.chunks_of(made)))
    np.testing.assert_array_equal(found["big"], [0, 1, 2, 3])
    np.testing.assert_array_equal(found["strided"], [0, 2, 4])
