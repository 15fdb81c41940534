"""What a task's result may consist of, and how its values become numpy and back."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import ReservedHeaderKey, Shareable
from nvflare.app_common.app_constant import AppConstants

from medleak.filters.privacy.controls import AGREE, CONTROLS, SERVERS, k_eta_of, protected_controls
from medleak.filters.update import UpdateError

META_LIMIT = 4096  # bytes as JSON: room for metrics and hyper-parameters, none for weights
_CONTENT = {ReservedHeaderKey.HEADERS, "DXO"}
_SEEN = "medleak.servers_control"
_TENSORS = ("torch.Tensor", "torch.nn.parameter.Parameter")


def known_code(code: object) -> str:
    """``code`` if it is one of NVFlare's: any text could be put there, and would leave the site."""
    codes = {v for k, v in vars(ReturnCode).items() if not k.startswith("_")}
    return str(code) if code in codes else ReturnCode.TASK_RESULT_FILTER_ERROR


def unwrap(shareable: Shareable) -> DXO:
    """The WEIGHT_DIFF or WEIGHTS in a result that holds nothing else; raises ``UpdateError``."""
    extra = sorted(str(k) for k in set(shareable) - _CONTENT)
    if extra:
        raise UpdateError(
            f"The result carries {extra[0]!r} beside its DXO, which no filter protects. "
            "Send the update as one FLModel or DXO."
        )
    headers = shareable.get(ReservedHeaderKey.HEADERS) or {}
    _check_small(headers, "headers")
    dxo = from_shareable(shareable)
    if dxo.data_kind not in (DataKind.WEIGHT_DIFF, DataKind.WEIGHTS):
        kind = getattr(dxo.data_kind, "value", dxo.data_kind)
        raise UpdateError(
            f"The result holds {kind}, not WEIGHT_DIFF or WEIGHTS: noise that is made for an "
            "update protects nothing else. Send the update alone."
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


def rewrap(dxo: DXO, round_number: int | None) -> Shareable:
    """A result that holds ``dxo`` and nothing else.

    Headers are written anew: those that the training script or an executor set leave no more.
    NVFlare adds its own (task, cookies, peer) after the filters.
    """
    result = dxo.to_shareable()
    if round_number is not None:
        result.set_header(AppConstants.CURRENT_ROUND, round_number)
    return result


def as_numpy(data: object) -> tuple[dict[str, Any], Callable[[Mapping[str, Any]], dict[str, Any]]]:
    """The entries as numpy values, and a function that gives results their old types back."""
    if not isinstance(data, dict):
        raise UpdateError(f"the DXO holds a {type(data).__name__}, not a dict of arrays")
    return {n: _plain(n, v) for n, v in data.items()}, restoring(data)


def restoring(data: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """A function that turns numpy values into ``data``'s containers: tensor, array or scalar."""
    give_back = {n: _container(v) for n, v in data.items()}

    def restore(result: Mapping[str, Any]) -> dict[str, Any]:
        return {n: give_back[n](v) if n in give_back else v for n, v in result.items()}

    return restore


def _container(like: object) -> Callable[[Any], Any]:
    if _is_tensor(like):
        device = like.device  # pyright: ignore[reportAttributeAccessIssue]

        def tensor(value: Any) -> Any:
            import torch

            return torch.from_numpy(np.array(value)).to(device)

        return tensor
    if isinstance(like, np.generic):
        return lambda value: np.asarray(value)[()]
    return lambda value: np.asarray(value)


def _plain(name: str, value: Any) -> Any:
    if not _is_tensor(value):
        return value
    if f"{type(value).__module__}.{type(value).__qualname__}" not in _TENSORS:
        raise UpdateError(
            f"{name} is a {type(value).__name__}, a tensor with arithmetic of its own: what is "
            "computed from it cannot be vouched for. Send plain tensors."
        )
    try:
        return value.detach().cpu().numpy()
    except (TypeError, RuntimeError) as e:  # bfloat16, complex32, quantised, sparse …
        raise UpdateError(
            f"{name} is a tensor of {value.dtype}, which numpy does not know: {e}. Send float32."
        ) from e


def _is_tensor(value: object) -> bool:
    # Told by name: importing torch would cost a site that sends numpy a second and 200 MB, and in
    # sys.modules it may be half imported, by the training script's own thread.
    return any(c.__module__ == "torch" and c.__name__ == "Tensor" for c in type(value).__mro__)


def difference(whole: Mapping[str, Any], state: Mapping[str, Any]) -> dict[str, Any]:
    """What training changed of weights that were sent whole, as NVFlare's own DIFF has it.

    What cannot be subtracted stays as it is: `medleak.filters.update.check_update` refuses it.
    """
    return {
        n: _minus(v, state[n]) if n in state and _subtracts(v, state[n]) else v
        for n, v in whole.items()
    }


def _subtracts(value: Any, sent: Any) -> bool:
    numbers = all(isinstance(v, np.ndarray | np.generic) for v in (value, sent))
    return (
        numbers and value.shape == sent.shape and {value.dtype.kind, sent.dtype.kind} <= {*"fiub"}
    )


def _minus(value: Any, sent: Any) -> Any:
    if value.dtype.kind in "ub" or sent.dtype.kind in "ub":  # where a difference could wrap
        return (value != sent).astype(np.int64)
    with np.errstate(over="ignore", invalid="ignore"):
        return value - sent


def whole_again(
    update: Mapping[str, Any], state: Mapping[str, Any], *, bare: Mapping[str, Any]
) -> dict[str, Any]:
    """``update`` on top of the model that the server sent, for a job whose server expects weights.

    That adds nothing to what the update tells: the server has the model, and rounding comes after
    the noise. An entry that stays at home leaves as the server sent it.

    Args:
        update: As it was protected.
        state: The model, by name.
        bare: The update as it was before.

    Raises:
        UpdateError: A sum is beyond the model's type, or so coarse that what protects it is lost.
    """
    found: dict[str, Any] = {}
    for name, sent in state.items():
        if name not in update:
            found[name] = sent
            continue
        before = np.asarray(sent)
        with np.errstate(over="ignore"):
            found[name] = (before + update[name]).astype(before.dtype)
        if not np.isfinite(found[name]).all():
            raise UpdateError(
                f"{name} would leave beyond {before.dtype}, as infinite. Lower the learning rate, "
                "or the noise."
            )
        changed = name in bare and not np.array_equal(update[name], bare[name])
        if changed and np.array_equal(found[name], (before + bare[name]).astype(before.dtype)):
            raise UpdateError(
                f"What the filter changed of {name} is less than the spacing of {before.dtype} at "
                "its weights: it would leave bare. Raise the noise, or set params_transfer_type "
                "to DIFF."
            )
    return found


def remember_servers_control(task_data: object, fl_ctx: FLContext) -> None:
    """Keep the server's control of this task, if it sent one; never raises."""
    servers: Any = {}
    try:
        if isinstance(task_data, Shareable):
            sent = from_shareable(task_data).meta.get(SERVERS) or {}
            servers = {n: np.array(v) for n, v in as_numpy(sent)[0].items()}
    except Exception as e:  # an event handler's exception is only logged, so it is kept for later
        servers = str(e)
    fl_ctx.set_prop(_SEEN, servers, private=True, sticky=False)


class SecondSet:
    """The change of a site's control, as it came to a filter beside an update."""

    def __init__(
        self,
        controls: object,
        update: Mapping[str, Any],
        fl_ctx: FLContext,
    ) -> None:
        """Check that it tells the update and nothing else, and take K·η.

        Raises:
            UpdateError: It tells something else, which no filter protects.
        """
        servers = fl_ctx.get_prop(_SEEN)
        if not isinstance(servers, dict):
            raise UpdateError(f"The server's control of this task could not be read: {servers}.")
        self._controls, self._restore = as_numpy(controls)
        self._servers = servers
        k_eta, missed = k_eta_of(update, self._controls, servers)
        self._k_eta = float(f"{k_eta:.6g}")  # more digits carry more than a number does
        if not missed <= AGREE:
            raise UpdateError(
                f"{CONTROLS} is not what SCAFFOLD makes of this update and the server's control "
                f"(it misses it by {missed:.2g} of the update): it tells something else of the "
                "images, which no filter protects. Send what NVFlare's PTScaffoldHelper gives."
            )

    def of(self, protected: Mapping[str, Any], *, hidden: bool) -> dict[str, Any]:
        """The change of control that belongs to the update as it leaves.

        Args:
            protected: The update.
            hidden: A mechanism with an ε was applied, and the schedule does not leave.

        Raises:
            UpdateError: K·η would leave, which it must not.
        """
        if hidden:
            raise UpdateError(
                f"{CONTROLS} tells the number of steps times the learning rate, which the site's ε "
                'does not cover. Let the mechanism disclose=["schedule"], or train without it.'
            )
        plain, _ = as_numpy(dict(protected))
        return self._restore(protected_controls(self._controls, self._servers, plain, self._k_eta))
