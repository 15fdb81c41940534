"""The server's recorder: what the server sees of every site, written as it arrives."""

from collections import Counter
from threading import Lock
from typing import Any

from nvflare.apis.dxo import from_shareable
from nvflare.apis.event_type import EventType
from nvflare.apis.filter import Filter
from nvflare.apis.fl_constant import FLContextKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.app_common.app_constant import AppConstants

from medleak.custom.flare.component import RecordingComponent, job_name, run_dir_of, site_of
from medleak.custom.record import RecordError
from medleak.filters.adapters.attendance import Attendance
from medleak.filters.allowed import updates_past_filters

_STREAMS = "nvflare.app_opt.tensor_stream."


class UpdateRecorder(RecordingComponent, Filter):
    """Record the model sent and every update received; see :mod:`medleak.custom.record`.

    One object serves both sides of a round: as a handler of ``AFTER_TASK_DATA_FILTER`` it sees
    the model that goes out, as the server's ``task_result`` filter the update as received, after
    all filters of the site. It changes nothing. What cannot be recorded stops the job: an audit
    of a record with silent gaps would call sites safe that nobody looked at. Homomorphically
    encrypted updates are the exception: nobody at the server can read them, so the manifest says
    that they were left out, and the job goes on. So it does for an update whose guarantee hides how
    the site trained. What the job or a site does not say is recorded as unknown: whoever audits can
    say it then.

    Args:
        args, kwargs: Those of `medleak.custom.flare.component.RecordingComponent`; what its budget
            will leave out is said, as far as it can be told, in the log when the first model goes
            out.
        tasks: Names of the tasks whose results are updates.
    """

    def __init__(self, *args: Any, tasks: list[str] | None = None, **kwargs: Any) -> None:
        """Take and check all arguments but ``tasks`` as `RecordingComponent` does.

        (NVFlare looks for the arguments of a base where these are called args and kwargs.)
        """
        super().__init__(*args, **kwargs)
        self.tasks = tasks
        self._lock = Lock()
        self._failure: Exception | None = None
        self._refused: Counter[str] = Counter()
        self._attendance = Attendance(self._ours, processes=False)

    @property
    def _ours(self) -> list[str]:
        return self.tasks or ["train"]

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Open the record when the run starts; take note of every model that goes out."""
        try:
            if event_type == EventType.START_RUN:
                with self._lock:
                    self._open(fl_ctx)
                if why := _sends_nothing_here(fl_ctx):
                    self.system_panic(f"Nothing would be recorded: {why}", fl_ctx)
            elif event_type == EventType.AFTER_TASK_DATA_FILTER:
                self._attendance.task_came(fl_ctx)
                if self._is_ours(fl_ctx):
                    with self._lock:
                        self._note_model(site_of(fl_ctx), fl_ctx.get_prop(FLContextKey.TASK_DATA))
                        self._foretell(fl_ctx)
            elif event_type == EventType.END_RUN:
                with self._lock:
                    self._close(fl_ctx)
        except Exception as error:
            # NVFlare only logs what an event handler raises: keep it for process(), which counts.
            self._failure = error
            self.log_error(fl_ctx, f"Recording failed: {error}")

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        """Record one update and pass it on untouched.

        Raises:
            RecordError: The update, or the model that it belongs to, cannot be recorded.
        """
        if not self._is_ours(fl_ctx):
            return shareable
        if (code := shareable.get_return_code()) != ReturnCode.OK:
            self._refused[str(code)] += 1
            return shareable
        self._attendance.result_came(fl_ctx)
        with self._lock:
            if self._failure is not None:
                raise RecordError(f"Recording failed: {self._failure}") from self._failure
            self._record(shareable, fl_ctx)
        return shareable

    def _is_ours(self, fl_ctx: FLContext) -> bool:
        return fl_ctx.get_prop(FLContextKey.TASK_NAME) in self._ours

    def _open(self, fl_ctx: FLContext) -> None:
        self._recording.begin(run_dir_of(fl_ctx) / "records", job_name(fl_ctx))

    def _close(self, fl_ctx: FLContext) -> None:
        """Say so, in the log and in the manifest, if nothing came in the whole run."""
        nothing = self._attendance.silence(fl_ctx)
        if not nothing or self._recording.root is None:
            return
        codes = ", ".join(f"{n} of {code}" for code, n in sorted(self._refused.items()))
        why = _sends_nothing_here(fl_ctx) or (
            f"{nothing}; sites answered with errors ({codes})" if codes else nothing
        )
        self._recording.silent(why)
        where = self._recording.root
        self.log_error(fl_ctx, f"Nothing was recorded in {where}: {why}", fire_event=False)

    def _note_model(self, site: str, task_data: Shareable | None) -> None:
        if task_data is None:
            raise RecordError("The model that was sent is not visible to the recorder.")
        dxo = from_shareable(task_data)
        round = task_data.get_header(AppConstants.CURRENT_ROUND)
        if not isinstance(round, int):
            raise RecordError(
                f"The model that was sent to {site!r} says no round ({round!r}): its updates could "
                "not be told apart. Record a workflow that counts rounds."
            )
        self._recording.sent_to(site, round, dxo)

    def _foretell(self, fl_ctx: FLContext) -> None:
        """Say once, when the first model has gone out, what the budget will leave out."""
        task, engine = fl_ctx.get_prop(FLContextKey.TASK_DATA), fl_ctx.get_engine()
        if self.disk_budget_mb is None or task is None or engine is None:
            return
        said = task.get_header(AppConstants.NUM_ROUNDS)
        rounds = fl_ctx.get_prop(AppConstants.NUM_ROUNDS) if said is None else said
        if said := self._recording.foretell({c.name for c in engine.get_clients()}, rounds):
            self.log_warning(fl_ctx, said)

    def _record(self, shareable: Shareable, fl_ctx: FLContext) -> None:
        self._recording.received(
            site_of(fl_ctx),
            shareable.get_cookie(AppConstants.CONTRIBUTION_ROUND),
            shareable,
            say=lambda text: self.log_info(fl_ctx, text),
            warn=lambda text: self.log_warning(fl_ctx, text),
        )


def _sends_nothing_here(fl_ctx: FLContext) -> str:
    """Why no update of any workflow of the job comes by the recorder; empty if one may."""
    config = getattr(fl_ctx.get_prop(FLContextKey.RUNNER), "config", None)
    for part in (getattr(config, "components", None) or {}).values():
        if type(part).__module__.startswith(_STREAMS):
            return (
                f"{type(part).__name__} streams the model's tensors and takes them out of the "
                "task before the recorder sees it. Remove it: NVFlare sends large models in pieces "
                "anyhow"
            )
    kinds = [type(w.controller) for w in getattr(config, "workflows", None) or []]
    reasons = [f"{kind.__name__}: {updates_past_filters(kind) or ''}" for kind in kinds]
    return "" if any(r.endswith(": ") for r in reasons) else "; ".join(reasons)
