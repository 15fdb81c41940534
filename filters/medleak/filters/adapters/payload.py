"""What a task's result may consist of, and how its values become numpy and back."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.shareable import ReservedHeaderKey, Shareable

from medleak.filters.update import UpdateError

META_LIMIT = 4096  # bytes as JSON: room for metrics and hyper-parameters, none for weights
_CONTENT = {ReservedHeaderKey.HEADERS, "DXO"}
_RUNTIME_HEADERS = {ReservedHeaderKey.PEER_CTX, ReservedHeaderKey.PEER_PROPS}


def known_code(code: object) -> str:
    """``code`` if it is one of NVFlare's: any text could be put there, and would leave the site."""
    codes = {v for k, v in vars(ReturnCode).items() if not k.startswith("_")}
    return str(code) if code in codes else ReturnCode.TASK_RESULT_FILTER_ERROR


def unwrap(shareable: Shareable) -> DXO:
    """The WEIGHT_DIFF in a result that holds nothing else; raises ``UpdateError``."""
    extra = sorted(str(k) for k in set(shareable) - _CONTENT)
    if extra:
        raise UpdateError(
            f"The result carries {extra[0]!r} beside its DXO, which no filter protects. "
            "Send the update as one FLModel or DXO."
        )
    headers = shareable.get(ReservedHeaderKey.HEADERS) or {}
    _check_small({k: v for k, v in headers.items() if k not in _RUNTIME_HEADERS}, "headers")
    dxo = from_shareable(shareable)
    if dxo.data_kind != DataKind.WEIGHT_DIFF:
        kind = getattr(dxo.data_kind, "value", dxo.data_kind)
        raise UpdateError(
            f"The result holds {kind}, not WEIGHT_DIFF: noise scaled to a difference does "
            "not protect whole weights or other data. Set params_transfer_type to DIFF."
        )
    return dxo


def check_meta(meta: Mapping[str, Any]) -> None:
    """Raise ``UpdateError`` unless ``meta`` is small and plain: it leaves without noise."""
    _check_small(meta, "metadata")


def _check_small(content: Mapping[str, Any], what: str) -> None:
    def scalar(value: object) -> object:
        if isinstance(value, np.generic):
            return value.item()
        raise TypeError(f"holds a {type(value).__name__}")

    try:
        size = len(json.dumps(content, default=scalar))
    except (TypeError, ValueError) as e:
        raise UpdateError(
            f"The {what} of the result cannot be vouched for ({e}): arrays there would leave bare. "
            "Send numbers and text only."
        ) from e
    if size > META_LIMIT:
        raise UpdateError(
            f"The {what} of the result take {size} bytes as JSON, more than {META_LIMIT}: they "
            "leave without noise, so they must stay small. Send fewer metrics."
        )


def as_numpy(data: object) -> tuple[dict[str, Any], Callable[[Mapping[str, Any]], dict[str, Any]]]:
    """The entries as numpy values, and a function that gives results their old types back."""
    if not isinstance(data, dict):
        raise UpdateError(f"the DXO holds a {type(data).__name__}, not a dict of arrays")
    tensors = {n: v for n, v in data.items() if _is_tensor(v)}

    def restore(result: Mapping[str, Any]) -> dict[str, Any]:
        if not tensors:
            return dict(result)
        import torch

        return {
            n: torch.from_numpy(np.array(v)).to(tensors[n].device) if n in tensors else v
            for n, v in result.items()
        }

    numpy_of = {}
    for name, tensor in tensors.items():
        try:
            numpy_of[name] = tensor.detach().cpu().numpy()
        except TypeError as e:  # bfloat16, complex32, quantised …
            raise UpdateError(
                f"{name} is a tensor of {tensor.dtype}, which numpy does not know: {e}. "
                "Send float32."
            ) from e
    return {n: numpy_of.get(n, v) for n, v in data.items()}, restore


def _is_tensor(value: object) -> bool:
    # Told by name: importing torch would cost a site that sends numpy a second and 200 MB, and in
    # sys.modules it may be half imported, by the training script's own thread.
    return any(c.__module__ == "torch" and c.__name__ == "Tensor" for c in type(value).__mro__)
