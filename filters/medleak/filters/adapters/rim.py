"""The rim between NVFlare and the pure defences: what a filter accepts, and that it fails closed.

NVFlare's own ``DXOFilter`` passes through what it does not know. :class:`FailClosedFilter` refuses
it: any exception in a result filter becomes ``TASK_RESULT_FILTER_ERROR`` at the server, without the
update.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from nvflare.apis.dxo import DXO, DataKind, MetaKey, from_shareable
from nvflare.apis.event_type import EventType
from nvflare.apis.filter import ContentBlockedException, Filter, FilterContextKey, FilterSource
from nvflare.apis.fl_constant import FLContextKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.app_common.app_constant import AppConstants

from medleak.filters import checks
from medleak.filters.adapters.attendance import Attendance, unprotected
from medleak.filters.adapters.payload import (
    SecondSet,
    as_numpy,
    check_meta,
    difference,
    known_code,
    remember_servers_control,
    restoring,
    rewrap,
    unwrap,
    whole_again,
)
from medleak.filters.adapters.schema import (
    DECLARED,
    SCHEDULE,
    beside,
    check_disclosed,
    in_the_models_form,
    permitted_meta,
    without_counters,
)
from medleak.filters.privacy.accounting import Guarantee
from medleak.filters.privacy.controls import CONTROLS
from medleak.filters.update import MAX_BATCHES, UpdateError, check_update, fixed_entries

_SEEN = "medleak.global_model"
_WITHHELD = "medleak.withheld"
_OWN_ENTRIES = "medleak.own_entries"
_APPLIED = "medleak.applied"
_DISCLOSED = "medleak.disclosed"
_NOT_OURS = ("startup", "local", "transfer")  # folders of a site that hold its keys and policies


class FailClosedFilter(Filter):
    """Base of every medleak filter on task results: protect the update or keep it at home.

    Accepts one thing only: the result of a task in ``tasks`` that is a ``WEIGHT_DIFF`` or
    ``WEIGHTS`` DXO of numpy values or CPU/GPU torch tensors, whose names and shapes are those of
    the model that the server sent for this task, with metadata of at most 4 KiB. What is protected
    is the difference to that model; whole weights leave as that model plus the protected
    difference, and not at all where the site trained from entries of its own. Error replies of the
    executor go on without content. All else raises ``ContentBlockedException``. Headers never
    leave; integer entries that are as the server sent them do not need to. Under an ε,
    :mod:`medleak.filters.adapters.schema` says what else leaves.

    The model sent is seen through the event AFTER_TASK_DATA_FILTER. NVFlare delivers events to
    filters of a *job*, but not to filters in a site's ``privacy.json``: list
    :class:`medleak.filters.adapters.GlobalModel` there under ``task_data_filters``.
    """

    def __init__(
        self,
        tasks: Sequence[str] = ("train",),
        *,
        metrics: str = "pass",
        disclose: Sequence[str] = (),
    ) -> None:
        """Take the task names whose results this filter protects; every other task is refused.

        ``metrics="drop"`` removes the training script's metrics, which leave without noise. Under
        an ε they are dropped unless the filter with the guarantee says "pass"; ``disclose`` of
        that filter names what else leaves exactly.
        """
        super().__init__()
        checks.require_choice("metrics", metrics, ("pass", "drop"))
        self.metrics = metrics
        self.disclose = list(check_disclosed(disclose))
        if isinstance(tasks, str) or not tasks or not all(isinstance(t, str) for t in tasks):
            raise ValueError(f"tasks must be a list of task names, got {tasks!r}.")
        if "*" in tasks:
            raise ValueError('tasks must name the tasks ("train"): NVFlare matches "*" to nothing.')
        self.tasks = list(tasks)
        self._attendance = Attendance(self.tasks, processes=True)

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Remember the model that the server sent, before training can change it.

        A job whose updates this filter could not protect is stopped before it trains; a run in
        which nothing came by is called what it was when it ends.
        """
        if event_type == EventType.AFTER_TASK_DATA_FILTER:
            self._attendance.task_came(fl_ctx)
            remember_global_model(fl_ctx.get_prop(FLContextKey.TASK_DATA), fl_ctx)
        elif event_type == EventType.START_RUN:
            if why := unprotected(fl_ctx, self.tasks, whole_weights=not self.keeps_entries()):
                # NVFlare only logs what an event handler raises; a job that is unsafe gets no task
                # run here, and the server ends it at the answer.
                fl_ctx.set_job_is_unsafe()
                self._attendance.refused = True
                self.log_error(fl_ctx, f"no task is run here: {why}", fire_event=False)
        elif event_type == EventType.END_RUN and (nothing := self._attendance.silence(fl_ctx)):
            log = self.log_warning if self._attendance.idle else self.log_error
            log(
                fl_ctx,
                f"This filter protected nothing: {nothing}. If the site trained, what left it was "
                "not protected. Let tasks name the task that trains, or protect where it sends.",
                fire_event=False,
            )

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        """Protect the result, or raise ``ContentBlockedException`` with the reason."""
        self._attendance.result_came(fl_ctx)
        try:
            code = shareable.get_return_code()
            if code != ReturnCode.OK:
                return make_reply(known_code(code))
            self._check_task(fl_ctx)
            dxo = unwrap(shareable)
            controls = dxo.meta.get(CONTROLS)
            dxo.meta = {k: v for k, v in dxo.meta.items() if k != CONTROLS}
            check_meta(dxo.meta)
            return self._protected(dxo, controls, fl_ctx)
        except Exception as e:
            self.log_error(fl_ctx, f"update withheld: {e}", fire_event=False)
            raise ContentBlockedException(f"{type(self).__name__} withheld the update: {e}") from e

    def protect(
        self, update: Mapping[str, Any], meta: dict[str, Any], fl_ctx: FLContext
    ) -> Mapping[str, Any]:
        """The protected update; may add to ``meta``. To be overridden."""
        raise NotImplementedError

    def unfit(self, state: Mapping[str, Any]) -> set[str]:
        """Entries of the model that this filter keeps at home whatever they hold."""
        return set()

    def keeps_entries(self) -> bool:
        """Whether the site goes on from entries of its own: whole weights would hold them."""
        return False

    def note(
        self,
        declared: Mapping[str, Any],
        guarantee: Guarantee | None,
        meta: dict[str, Any],
        fl_ctx: FLContext,
    ) -> None:
        """As :func:`note_defence`, the guarantee with what this filter lets out beside it."""
        if guarantee is not None:
            disclosed = {*self.disclose, *(["metrics"] if self.metrics == "pass" else [])}
            words = dict.fromkeys((*guarantee.beside, *beside(disclosed)))
            guarantee = replace(guarantee, beside=tuple(words))
            before = fl_ctx.get_prop(_DISCLOSED, disclosed)
            fl_ctx.set_prop(_DISCLOSED, before & disclosed, private=True, sticky=False)
        note_defence(declared, guarantee, meta, fl_ctx)

    def _protected(self, dxo: DXO, controls: object, fl_ctx: FLContext) -> Shareable:
        state, round_number = global_model(fl_ctx)
        given, restore = as_numpy(dxo.data)
        if whole := dxo.data_kind == DataKind.WEIGHTS:
            _check_can_leave_whole(controls, fl_ctx)
            stayed = fl_ctx.get_prop(_WITHHELD, frozenset())
            given = {n: v for n, v in difference(given, state).items() if n not in stayed}
        unfit = self.unfit(state)
        looked_at = {n: v for n, v in given.items() if n not in unfit}
        check_update(looked_at, state, max_batches=_steps_of(dxo.meta))
        _check_complete(given, state, fl_ctx)
        data = in_the_models_form(looked_at, state)
        data |= {n: np.asarray(v) for n, v in given.items() if n in unfit}
        meta = dict(dxo.meta)
        second = None if controls is None else SecondSet(controls, data, fl_ctx)
        protected = dict(self.protect(data, meta, fl_ctx))
        if self.metrics == "drop":
            meta.pop(MetaKey.INITIAL_METRICS, None)
        if any(guarantee is not None for _, guarantee in noted_defences(fl_ctx)):
            meta = permitted_meta(meta, fl_ctx.get_prop(_DISCLOSED, ()))
            protected = without_counters({n: protected[n] for n in state if n in protected})
            restore = _containers(fl_ctx)
        sent = restore(whole_again(protected, state, bare=data) if whole else protected)
        remember_withheld(set(given) - set(protected), fl_ctx)
        dxo.data, dxo.meta = sent, meta
        check_meta(dxo.meta)  # with what this filter added
        if second is not None:
            dxo.meta = {**dxo.meta, CONTROLS: second.of(sent, hidden=_hides_schedule(fl_ctx))}
        return rewrap(dxo, round_number)

    def _check_task(self, fl_ctx: FLContext) -> None:
        task = fl_ctx.get_prop(FLContextKey.TASK_NAME)
        if task not in self.tasks:
            raise UpdateError(
                f"The task is {task!r}, this filter protects {', '.join(self.tasks)}: the result "
                "of a renamed task would leave bare. Rename the task, or list it in tasks."
            )


def of_the_site(used: Filter) -> bool:
    """True if the site's own policy lists this very filter: then its operator chose its arguments.

    NVFlare marks the filters of ``privacy.json`` so; nothing that a job says can.
    """
    return used.get_prop(FilterContextKey.SOURCE) == FilterSource.SITE


def remember_global_model(task_data: object, fl_ctx: FLContext) -> None:
    """Keep what the server sent in ``fl_ctx`` until the result is filtered; never raises.

    The values are copied, because training code shares memory with the task's arrays.
    """
    try:
        if not isinstance(task_data, Shareable):
            raise UpdateError(f"the task's data is a {type(task_data).__name__}")
        raw = from_shareable(task_data).data
        data, _ = as_numpy(raw)
        seen: dict[str, Any] = {
            "state": {n: v.copy() for n, v in data.items()},
            "round": round_of(task_data),
            "restore": restoring(raw),
        }
    except Exception as e:  # an event handler's exception is only logged, so it is kept for later
        seen = {"error": str(e)}
    remember_servers_control(task_data, fl_ctx)
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


def _hides_schedule(fl_ctx: FLContext) -> bool:
    """True if a mechanism with an ε was applied under which the schedule does not leave."""
    guaranteed = any(guarantee is not None for _, guarantee in noted_defences(fl_ctx))
    return guaranteed and "schedule" not in fl_ctx.get_prop(_DISCLOSED, ())


def _containers(fl_ctx: FLContext) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    seen = fl_ctx.get_prop(_SEEN)
    if seen is None:
        raise UpdateError("The global model of this task was not seen: its form cannot be kept.")
    return seen["restore"]


def _check_can_leave_whole(controls: object, fl_ctx: FLContext) -> None:
    if fl_ctx.get_prop(_OWN_ENTRIES):
        raise UpdateError(
            "The site trained from a model with entries of its own (RestoreWithheld), and the job "
            "sends whole weights, which would hold them. Set params_transfer_type to DIFF."
        )
    if controls is not None:
        raise UpdateError(
            f"{CONTROLS} belongs to a difference, and the job sends whole weights. Set "
            "params_transfer_type to DIFF."
        )


def remember_own_entries(fl_ctx: FLContext) -> None:
    """Note that the model of this task was given entries that the server does not have."""
    fl_ctx.set_prop(_OWN_ENTRIES, True, private=True, sticky=False)


def _steps_of(meta: Mapping[str, Any]) -> int:
    """The steps that the script says it took: a batch counter cannot have counted more."""
    declared = meta.get(SCHEDULE)
    steps = declared.get("n_steps") if isinstance(declared, dict) else None
    if not isinstance(steps, int) or isinstance(steps, bool):
        return MAX_BATCHES
    return min(steps, MAX_BATCHES)


def remember_withheld(names: set[str], fl_ctx: FLContext) -> None:
    """Tell the filters that follow in this task which entries were left out on purpose."""
    before = fl_ctx.get_prop(_WITHHELD, frozenset())
    fl_ctx.set_prop(_WITHHELD, before | names, private=True, sticky=False)


def note_defence(
    declared: Mapping[str, Any], guarantee: Guarantee | None, meta: dict[str, Any], ctx: FLContext
) -> None:
    """Say in the result's ``meta`` and to the filters that follow what was done to the update.

    The list in ``meta`` is written anew: what the training script may have put there is no news.
    """
    noted = [*noted_defences(ctx), (dict(declared), guarantee)]
    ctx.set_prop(_APPLIED, noted, private=True, sticky=False)
    meta[DECLARED] = [d for d, _ in noted]


def noted_defences(ctx: FLContext) -> list[tuple[dict[str, Any], Guarantee | None]]:
    """Declarations and guarantees of medleak's filters in this task, in their order."""
    return ctx.get_prop(_APPLIED, [])


def site_path(path: str, ctx: FLContext) -> Path:
    """``path`` in the site's own folder (its startup kit, not the job's); never outside of it.

    Raises:
        UpdateError: It is absolute, climbs by "..", follows a link out, or lies where a site keeps
            its keys and policies: a job names filters and their paths, and must not choose files.
    """
    root = Path(ctx.get_workspace().get_root_dir())
    parts = PurePosixPath(path.replace("\\", "/")).parts
    inside = (root / path).resolve().is_relative_to(root.resolve())
    if not parts or Path(path).is_absolute() or ".." in parts or not inside:
        raise UpdateError(
            f"The path {path!r} of a filter leaves the site's folder: filters may write inside of "
            "it only. Give a relative path without '..'."
        )
    if parts[0] in _NOT_OURS or "\0" in path:
        raise UpdateError(
            f"The path {path!r} of a filter lies in {parts[0]}/, where the site keeps keys and "
            "policies. Give a file or folder of its own."
        )
    return root / path


def state_folder(state_dir: str, ctx: FLContext) -> Path:
    """The folder of this job under ``state_dir``; a job name from the network is never a path."""
    job = str(ctx.get_job_id())
    name = job if re.fullmatch(r"[\w-]{1,64}", job) else hashlib.sha256(job.encode()).hexdigest()
    return site_path(state_dir, ctx) / name


def _check_complete(update: Mapping[str, Any], state: Mapping[str, Any], fl_ctx: FLContext) -> None:
    left_out = fl_ctx.get_prop(_WITHHELD, frozenset()) | fixed_entries(state)
    missing = sorted(set(state) - set(update) - left_out)
    if missing:
        raise UpdateError(
            f"The update lacks {missing[0]} and {len(missing) - 1} more entries of the global "
            "model: what left them out cannot be vouched for. Send the whole state_dict, and "
            "withhold with medleak.filters.adapters.Withhold."
        )


def round_of(task_data: Shareable) -> int | None:
    """The round that a task belongs to; None if it does not say."""
    for found in (
        task_data.get_header(AppConstants.CURRENT_ROUND),
        task_data.get_cookie(AppConstants.CONTRIBUTION_ROUND),
    ):
        if isinstance(found, int) and not isinstance(found, bool):
            return found
    return None
