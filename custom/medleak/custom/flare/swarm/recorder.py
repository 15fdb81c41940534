"""The recorder of swarm learning: at the site that aggregates, as nothing comes to the server."""

from threading import Lock
from typing import Any

import numpy as np
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.app_common.abstract.model import ModelLearnable, model_learnable_to_dxo
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.app_event_type import AppEventType
from nvflare.app_common.ccwf.common import Constant
from nvflare.app_common.ccwf.swarm_client_ctl import SwarmClientController

from medleak.custom.flare.component import RecordingComponent, job_name, run_dir_of, site_of
from medleak.custom.record import RecordError, check_site
from medleak.custom.record.tensors import as_arrays

NOT_HERE = (
    "this site aggregated in no round of the run, so no update came to it; they are recorded at "
    "the sites that did"
)


class SwarmRecorder(RecordingComponent):
    """Record, at each site of a swarm, the updates that it aggregates.

    A component of the sites. In swarm learning (NVFlare's ``SwarmClientController``) a round's
    updates go to the site that aggregates it, which sees of the others what a server would see, and
    nothing passes the server. So the record is in that site's run directory, and holds what
    *others* sent: whoever operates the site can audit them, and keeps them as he keeps data of
    patients. Another round may be aggregated by another site: ``medleak records join`` makes one
    record of them. A site that never aggregated has a record without updates, which says so.

    An update is as the aggregator is about to take it, and belongs to the model that this site was
    sent in the same round; NVFlare sends all sites one model. What cannot be recorded is reported
    to the server as this site's failure, which ends the job. A result that comes after the next
    round has begun is left out, and the manifest says so.

    Args:
        args, kwargs: Those of `medleak.custom.flare.component.RecordingComponent`; the budget is
            each site's.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take and check the arguments as `RecordingComponent` does."""
        super().__init__(*args, **kwargs)
        self._lock = Lock()
        self._controllers: list[SwarmClientController] = []
        self._round: int | None = None
        self._model: dict[str, np.ndarray] | RecordError | None = None
        self._came = False
        self.failure = ""  # why recording ended the job

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Open the record, take note of each round's model, record what is about to be accepted."""
        handler = {
            Constant.EXECUTOR_INITIALIZED: self._meet,
            EventType.START_RUN: self._open,
            AppEventType.ROUND_STARTED: self._note_model,
            AppEventType.BEFORE_CONTRIBUTION_ACCEPT: self._record,
            EventType.END_RUN: self._close,
        }.get(event_type)
        if handler is None:
            return
        try:
            with self._lock:
                handler(fl_ctx)
        except Exception as error:
            self._fail(f"Recording failed: {error}", fl_ctx)

    def _fail(self, why: str, fl_ctx: FLContext) -> None:
        """End the job: NVFlare only logs what an event handler raises."""
        self.failure = self.failure or why
        self.log_error(fl_ctx, why, fire_event=False)
        for controller in self._controllers:  # the server ends the job in its next look
            controller.update_status(action="record", error=ReturnCode.EXECUTION_EXCEPTION)
        if not self._controllers:
            self.system_panic(why, fl_ctx)

    def _meet(self, fl_ctx: FLContext) -> None:
        executor = fl_ctx.get_prop(Constant.EXECUTOR)
        if isinstance(executor, SwarmClientController):
            self._controllers.append(executor)

    def _open(self, fl_ctx: FLContext) -> None:
        router = getattr(fl_ctx.get_prop(FLContextKey.RUNNER), "task_router", None)
        executors = getattr(router, "task_table", {}).values()
        if router is not None and not any(isinstance(e, SwarmClientController) for e in executors):
            raise RecordError(
                "no SwarmClientController of NVFlare runs at this site, so that no update would "
                "ever come by. Record a job with another workflow at its server (UpdateRecorder)."
            )
        self._recording.begin(run_dir_of(fl_ctx) / "records", job_name(fl_ctx))

    def _note_model(self, fl_ctx: FLContext) -> None:
        round, model = (
            fl_ctx.get_prop(AppConstants.CURRENT_ROUND),
            fl_ctx.get_prop(AppConstants.GLOBAL_MODEL),
        )
        self._round, self._model = round if isinstance(round, int) else None, None
        if not isinstance(model, ModelLearnable):
            return
        where = f"The model of round {round}"
        try:
            arrays = as_arrays(where, model_learnable_to_dxo(model).data)
        except (RecordError, ValueError) as error:
            # At a site that does not aggregate they may be no more than where to fetch them.
            self._model = RecordError(str(error))
        else:
            # A script in this process may train in the very arrays that it was given.
            self._model = {name: np.array(value) for name, value in arrays.items()}

    def _record(self, fl_ctx: FLContext) -> None:
        result, site = fl_ctx.get_prop(AppConstants.TRAINING_RESULT), check_site(site_of(fl_ctx))
        self._came = True
        if result is None:
            raise RecordError(f"an update of {site} is not visible to the recorder.")
        round = result.get_header(AppConstants.CURRENT_ROUND)
        if isinstance(round, int) and self._round is not None and 0 <= round < self._round:
            why = f"it came in round {self._round}, when the model that it belongs to was gone"
            self._recording.leave_out(round, site, why)
            self.log_warning(fl_ctx, f"Round {round} of {site} is not recorded: {why}")
            return
        if isinstance(self._model, RecordError):
            raise self._model
        if self._model is None or self._round is None or round != self._round:
            raise RecordError(
                f"an update of {site} says round {round!r}, and the model that this site was sent "
                f"last is that of round {self._round!r}: no attack could be judged on it."
            )
        self._recording.answer(
            site,
            self._round,
            self._model,
            result,
            say=lambda text: self.log_info(fl_ctx, text),
            warn=lambda text: self.log_warning(fl_ctx, text),
        )

    def _close(self, fl_ctx: FLContext) -> None:
        self._model = None
        if not self._came and self._recording.root is not None:
            self._recording.silent(NOT_HERE)
            self.log_info(fl_ctx, f"{self._recording.root} has no update: {NOT_HERE}")
