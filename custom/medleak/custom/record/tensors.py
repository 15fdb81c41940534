"""Tensors as they come from anywhere, as the arrays of a record; what is none is refused by name.

A record holds what can be read back bit by bit and means one thing: dense, finite numbers of the
model's own names and shapes. bfloat16, which numpy lacks, becomes float32, which holds it exactly.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors import deserialize

State = Mapping[str, Any]
"""Tensors by name: numpy's, or torch's, which are not imported here."""

Arrays = dict[str, np.ndarray]

_FLOATS = (2, 4, 8)  # bytes; long doubles differ from machine to machine
_RESERVED = "__metadata__"  # of safetensors


class RecordError(ValueError):
    """A record that cannot be written or must not be trusted; the message names it."""


def as_arrays(where: str, state: State) -> Arrays:
    """The tensors of ``state``, which ``where`` is about, as arrays that alias them if they can.

    Raises:
        RecordError: One has no usable name, or is nested, sparse, quantised, complex or no tensor.
    """
    return {_name(where, name): _array(where, name, value) for name, value in state.items()}


def _name(where: str, name: Any) -> str:
    usable = isinstance(name, str) and bool(name) and name != _RESERVED
    try:
        usable = usable and bool(name.encode())
    except UnicodeEncodeError:
        usable = False
    if not usable:
        raise RecordError(
            f"{where}: {str(name)[:80]!r} is no name of a tensor: it must be text other than "
            f"{_RESERVED!r}. Send tensors by their names in state_dict()."
        )
    return name


def _array(where: str, name: str, value: Any) -> np.ndarray:
    if callable(materialize := getattr(value, "materialize", None)):
        value = materialize()
    if isinstance(value, Mapping | list | tuple):
        raise _refused(where, name, "a collection", "Send one tensor a name.")
    if hasattr(value, "detach"):
        value = _of_torch(where, name, value)
    if not isinstance(value, np.ndarray | np.generic | int | float):
        raise _refused(where, name, f"a {type(value).__name__}", "Send tensors of numbers.")
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise _refused(where, name, f"unusable ({error})", "Send tensors of numbers.") from None
    if array.dtype.name == "bfloat16":
        array = array.astype(np.float32)
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind not in "biuf" or (kind == "f" and size not in _FLOATS):
        raise _refused(
            where, name, f"of type {array.dtype}", "Send real numbers of 8 bytes or less."
        )
    return array


def _of_torch(where: str, name: str, value: Any) -> Any:
    dtype = str(getattr(value, "dtype", "")).removeprefix("torch.")
    for trait in ("is_nested", "is_quantized"):
        if getattr(value, trait, False):
            raise _refused(where, name, trait.removeprefix("is_"), "Send it dense, as floats.")
    if str(getattr(value, "layout", "torch.strided")) != "torch.strided":
        raise _refused(where, name, "sparse", "Send it by .to_dense().")
    try:
        value = value.detach().cpu().resolve_conj().resolve_neg()
        return (value.float() if dtype == "bfloat16" else value).numpy()
    except (RuntimeError, TypeError, AttributeError, NotImplementedError) as error:
        why = f"of type {dtype} ({str(error).splitlines()[0][:80]})"
        raise _refused(where, name, why, "Send a dense tensor of numbers.") from None


def _refused(where: str, name: str, what: str, remedy: str) -> RecordError:
    return RecordError(f"{where}: {name!r} is {what}, which a record does not hold. {remedy}")


def difference(where: str, local: Arrays, sent: Arrays) -> Arrays:
    """local - sent, by name, exact for integers and for floats of 16 bits.

    Raises:
        RecordError: A tensor is not in the model, or has another shape.
    """
    check_names(where, sent, local)
    return {name: _difference(where, name, value, sent[name]) for name, value in local.items()}


def _difference(where: str, name: str, local: np.ndarray, sent: np.ndarray) -> np.ndarray:
    if "f" in local.dtype.kind + sent.dtype.kind:
        wide = np.result_type(local, sent, np.float32)
        return np.subtract(local, sent, dtype=wide)
    for value in (local, sent):
        if value.dtype == np.uint64 and value.size and value.max() > np.iinfo(np.int64).max:
            raise _refused(where, name, "an integer above 2^63", "Send it as a float.")
    return local.astype(np.int64) - sent.astype(np.int64)


def check_names(where: str, sent: Mapping[str, Any], update: Mapping[str, Any]) -> None:
    """A RecordError, about ``where``, unless ``update`` has some of the names, and their shapes."""
    if not update:
        raise RecordError(f"{where}: the update is empty. The site sent nothing to audit.")
    if unknown := sorted(set(update) - set(sent)):
        raise RecordError(
            f"{where}: {unknown[0]!r} ({len(unknown)} in all) is not in the model that was sent: "
            "update and model do not belong together."
        )
    for key, value in update.items():
        if np.shape(value) != np.shape(sent[key]):
            raise RecordError(
                f"{where}: {key!r} has shape {np.shape(value)}, in the model "
                f"{np.shape(sent[key])}: update and model do not belong together."
            )


def check_update(where: str, sent: Arrays, update: Arrays) -> None:
    """A RecordError, about ``where``, where the update does not fit the model or is not finite."""
    check_names(where, sent, update)
    for key, value in update.items():
        if value.dtype.kind not in "fiu":
            raise RecordError(
                f"{where}: {key!r} is of type {value.dtype}, which no difference of weights has. "
                "Record numbers."
            )
        if _wrapped(sent[key], value):
            raise RecordError(
                f"{where}: {key!r} is of type {value.dtype}, and model + update is no "
                f"{sent[key].dtype}: the difference has wrapped around. Compute it in int64."
            )
    for what, state in (("model", sent), ("update", update)):
        check_finite(where, what, state)


def check_finite(where: str, what: str, state: Arrays) -> None:
    """A RecordError, about ``where``, where ``state``, which is a ``what``, has NaN or inf."""
    if bad := [k for k, v in state.items() if v.dtype.kind == "f" and not np.isfinite(v).all()]:
        raise RecordError(
            f"{where}: the {what} holds NaN or inf in {bad[0]!r} ({len(bad)} tensors in all): "
            "training diverged there; no attack can be judged on it."
        )


def _wrapped(sent: np.ndarray, update: np.ndarray) -> bool:
    """Whether integers left the range of the model's own: local = sent + update is in it."""
    if sent.dtype.kind not in "iu" or update.dtype.kind not in "iu" or not update.any():
        return False
    limits = np.iinfo(sent.dtype)
    local = sent.astype(np.float64) + update.astype(np.float64)
    # As floats the limits of 64 bits are rounded up, and no table or counter is near them.
    beyond = local >= float(limits.max) if limits.bits == 64 else local > limits.max
    return bool((beyond | (local < limits.min)).any())


def chunks_of(state: Arrays) -> list[bytes | memoryview]:
    """The safetensors file of ``state``, a piece each for the header and every tensor.

    The pieces are views of the arrays, as far as those are contiguous: a model of a gigabyte is
    written without a second one in memory.
    """
    plain = {n: _as_stored(v) for n, v in state.items()}
    header, offset = {}, 0
    # By size of their numbers, as safetensors has them, so that every tensor is aligned.
    order = sorted(plain, key=lambda n: (-plain[n].dtype.itemsize, n))
    for name in order:
        value = plain[name]
        end = offset + value.nbytes
        dtype, shape = _NAMES[value.dtype], list(state[name].shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return [len(text).to_bytes(8, "little") + text, *(plain[n].view(np.uint8).data for n in order)]


def _as_stored(value: np.ndarray) -> np.ndarray:
    """Contiguous, flat and little-endian."""
    return np.ascontiguousarray(value).reshape(-1).astype(value.dtype.newbyteorder("<"), copy=False)


def of_bytes(data: bytes) -> Arrays:
    """The tensors of a safetensors file, by name and in the order of their names.

    Raises:
        SafetensorError, ValueError, KeyError, TypeError, AttributeError: It is none.
    """
    # safetensors gives them in no fixed order, which seeded noise must not depend on.
    return {name: _read(part) for name, part in sorted(deserialize(data))}


def _read(part: Mapping[str, Any]) -> np.ndarray:
    dtype, shape = part["dtype"], part["shape"]
    if dtype == "BF16":
        wide = np.frombuffer(part["data"], np.uint16).astype(np.uint32) << 16
        return wide.view(np.float32).reshape(shape)
    return np.frombuffer(part["data"], _DTYPES[dtype]).reshape(shape)


_SIZES = {"F": _FLOATS, "I": (1, 2, 4, 8), "U": (1, 2, 4, 8)}
_DTYPES = {
    f"{letter}{8 * size}": np.dtype(f"<{letter.lower()}{size}")
    for letter, sizes in _SIZES.items()
    for size in sizes
} | {"BOOL": np.dtype(bool)}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
