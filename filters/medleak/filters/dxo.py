"""The rim between NVFlare and the pure defences: what a filter accepts, and that it fails closed.

NVFlare's own ``DXOFilter`` passes through what it does not know. :class:`FailClosedFilter` refuses
it: any exception in a result filter becomes ``TASK_RESULT_FILTER_ERROR`` at the server, without the
update.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.event_type import EventType
from nvflare.apis.filter import ContentBlockedException, Filter
from nvflare.apis.fl_constant import FLContextKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import ReservedHeaderKey, Shareable, make_reply
from nvflare.app_common.app_constant import AppConstants

from medleak.filters.update import UpdateError

DECLARED = "medleak_defences"
META_LIMIT = 4096  # bytes as JSON: room for metrics and hyper-parameters, none for weights
_SEEN = "medleak.global_model"
_WITHHELD = "medleak.withheld"
_CONTENT = {ReservedHeaderKey.HEADERS, "DXO"}
_RUNTIME_HEADERS = {ReservedHeaderKey.PEER_CTX, ReservedHeaderKey.PEER_PROPS}


class FailClosedFilter(Filter):
    """Base of every medleak filter on task results: protect the update or keep it at home.

    Accepts one thing only: the result of a task in ``tasks`` that is a ``WEIGHT_DIFF`` DXO of numpy
    values or CPU/GPU torch tensors, whose names and shapes are those of the model that the server
    sent for this task, with metadata of at most 4 KiB. Error replies of the executor go on without
    content. All else raises ``ContentBlockedException``.

    The model sent is seen through the event AFTER_TASK_DATA_FILTER. NVFlare delivers events to
    filters of a *job*, but not to filters in a site's ``privacy.json``: list
    :class:`medleak.filters.adapters.GlobalModel` there under ``task_data_filters``.
    """

    def __init__(self, tasks: Sequence[str] = ("train",)) -> None:
        """Take the task names whose results this filter protects; every other task is refused."""
        super().__init__()
        if isinstance(tasks, str) or not tasks or not all(isinstance(t, str) for t in tasks):
            raise ValueError(f"tasks must be a list of task names, got {tasks!r}.")
        if "*" in tasks:
            raise ValueError('tasks must name the tasks ("train"): NVFlare matches "*" to nothing.')
        self.tasks = list(tasks)

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Remember the model that the server sent, before training can change it."""
        if event_type == EventType.AFTER_TASK_DATA_FILTER:
            remember_global_model(fl_ctx.get_prop(FLContextKey.TASK_DATA), fl_ctx)

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        """Protect the result, or raise ``ContentBlockedException`` with the reason."""
        try:
            code = shareable.get_return_code()
            if code != ReturnCode.OK:
                return make_reply(_known(code))
            self._check_task(fl_ctx)
            dxo = _unwrap(shareable)
            data, restore = _as_numpy(dxo.data)
            _check_complete(data, fl_ctx)
            protected = self.protect(data, dxo.meta, fl_ctx)
            remember_withheld(set(data) - set(protected), fl_ctx)
            dxo.data = restore(protected)
            _check_meta(dxo.meta)
            return dxo.update_shareable(shareable)
        except Exception as e:
            self.log_error(fl_ctx, f"update withheld: {e}", fire_event=False)
            raise ContentBlockedException(f"{type(self).__name__} withheld the update: {e}") from e

    def protect(
        self, update: Mapping[str, Any], meta: dict[str, Any], fl_ctx: FLContext
    ) -> Mapping[str, Any]:
        """The protected update; may add to ``meta``. To be overridden."""
        raise NotImplementedError

    def _check_task(self, fl_ctx: FLContext) -> None:
        task = fl_ctx.get_prop(FLContextKey.TASK_NAME)
        if task not in self.tasks:
            raise UpdateError(
                f"The task is {task!r}, this filter protects {', '.join(self.tasks)}: the result "
                "of a renamed task would leave bare. Rename the task, or list it in tasks."
            )


def remember_global_model(task_data: object, fl_ctx: FLContext) -> None:
    """Keep what the server sent in ``fl_ctx`` until the result is filtered; never raises.

    Statistics are copied, because training code shares memory with the task's arrays; weights, of
    which defences use only names and shapes, are not.
    """
    try:
        if not isinstance(task_data, Shareable):
            raise UpdateError(f"the task's data is a {type(task_data).__name__}")
        data, _ = _as_numpy(from_shareable(task_data).data)
        state = {n: v.copy() if v.size <= META_LIMIT else v for n, v in data.items()}
        seen: dict[str, Any] = {"state": state, "round": _round_of(task_data)}
    except Exception as e:  # an event handler's exception is only logged, so it is kept for later
        seen = {"error": str(e)}
    seen["task_id"] = fl_ctx.get_prop(FLContextKey.TASK_ID)
    fl_ctx.set_prop(_SEEN, seen, private=True, sticky=False)


def global_model(fl_ctx: FLContext) -> tuple[dict[str, Any], int | None]:
    """State and round of the model that the server sent for this task.

    Raises:
        UpdateError: It was not seen, could not be read, or belongs to another task.
    """
    seen = fl_ctx.get_prop(_SEEN)
    if not isinstance(seen, dict) or seen.get("task_id") != fl_ctx.get_prop(FLContextKey.TASK_ID):
        raise UpdateError(
            "The global model of this task was not seen, so names, shapes and running variances "
            "cannot be checked. In privacy.json, list medleak.filters.adapters.GlobalModel under "
            "task_data_filters of the same scope."
        )
    if "error" in seen:
        raise UpdateError(f"The global model of this task could not be read: {seen['error']}.")
    return seen["state"], seen["round"]


def remember_withheld(names: set[str], fl_ctx: FLContext) -> None:
    """Tell the filters that follow in this task which entries were left out on purpose."""
    before = fl_ctx.get_prop(_WITHHELD, frozenset())
    fl_ctx.set_prop(_WITHHELD, before | names, private=True, sticky=False)


def _check_complete(update: Mapping[str, Any], fl_ctx: FLContext) -> None:
    state, _ = global_model(fl_ctx)
    missing = sorted(set(state) - set(update) - fl_ctx.get_prop(_WITHHELD, frozenset()))
    if missing and update:
        raise UpdateError(
            f"The update lacks {missing[0]} and {len(missing) - 1} more entries of the global "
            "model: what left them out cannot be vouched for. Send the whole state_dict, and "
            "withhold with medleak.filters.adapters.Withhold."
        )


def _round_of(task_data: Shareable) -> int | None:
    for found in (
        task_data.get_header(AppConstants.CURRENT_ROUND),
        task_data.get_cookie(AppConstants.CONTRIBUTION_ROUND),
    ):
        if isinstance(found, int) and not isinstance(found, bool):
            return found
    return None


def _known(code: object) -> str:
    # Any text could be put into a return code; only NVFlare's own leave the site.
    codes = {v for k, v in vars(ReturnCode).items() if not k.startswith("_")}
    return str(code) if code in codes else ReturnCode.TASK_RESULT_FILTER_ERROR


def _unwrap(shareable: Shareable) -> DXO:
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
        raise UpdateError(
            f"The result holds {dxo.data_kind}, not WEIGHT_DIFF: noise scaled to a difference does "
            "not protect whole weights or other data. Set params_transfer_type to DIFF."
        )
    return dxo


def _check_meta(meta: Mapping[str, Any]) -> None:
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


def _as_numpy(data: object) -> tuple[dict[str, Any], Any]:
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
