"""The rehearsal as a filter: a model that would give the site's images away is not trained."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from nvflare.apis.dxo import DataKind, from_shareable
from nvflare.apis.filter import ContentBlockedException, Filter
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable

from medleak.filters import checks
from medleak.filters.adapters.compression import STATE_DIR
from medleak.filters.adapters.payload import as_numpy
from medleak.filters.adapters.rim import of_the_site, round_of, state_folder
from medleak.filters.apart.process import check_name
from medleak.filters.sentinel.examination import digest
from medleak.filters.sentinel.memory import entry
from medleak.filters.sentinel.rehearsal import (
    CLASS_LOSS,
    DOMINANCE,
    GIVEN_AWAY,
    MEASURE,
    Limits,
    judge,
    rehearse,
)
from medleak.filters.sentinel.store import Store
from medleak.filters.update import UpdateError

ON_ALARM = ("refuse_round", "refuse_run", "warn")
_FOLDER = "rehearsal"


class Rehearsal(Filter):
    """Try a step of the model on the site's own images; refuse what would give them away.

    For ``task_data_filters``, after :class:`Sentinel`, in the site's own ``privacy.json``: its
    arguments name code and the site's files. It sees how weights act, not how they look, and so a
    trap that looks like honest training; and an honest network that gives images away. It runs in a
    process of its own on the CPU. What cannot be rehearsed is refused, whatever ``on_alarm`` says.
    That a task was refused is visible to the server, and depends on the data.

    Args:
        measure_args: Arguments of the measure: where the images are and how training shows them
            (:func:`medleak.inversion.rehearsal.measure.measure`).
        measure: The rehearsal, as ``"module:function"``.
        given_away, dominance, class_loss: See :class:`medleak.filters.sentinel.rehearsal.Limits`.
        time_limit: Seconds, after which the task is refused.
        on_alarm: As that of :class:`Sentinel`.
        state_dir: Folder in the site's own, for a record of what was found: numbers, no images.
        tasks: Tasks that carry a model to be trained; all others are refused.
    """

    _always_serialize_args: ClassVar = (
        *("measure_args", "measure", "given_away", "dominance", "class_loss"),
        *("time_limit", "on_alarm", "tasks"),
    )

    def __init__(
        self,
        measure_args: Mapping[str, Any],
        measure: str = MEASURE,
        given_away: float = GIVEN_AWAY,
        dominance: float = DOMINANCE,
        class_loss: float = CLASS_LOSS,
        time_limit: float = 120.0,
        on_alarm: str = "refuse_round",
        state_dir: str = STATE_DIR,
        tasks: Sequence[str] = ("train",),
    ) -> None:
        """Take the rehearsal, its limits and what to do."""
        super().__init__()
        check_name(measure)
        checks.require_positive("time_limit", time_limit, "the rehearsal needs some time.")
        checks.require_choice("on_alarm", on_alarm, ON_ALARM)
        if isinstance(tasks, str) or not tasks or not all(isinstance(t, str) for t in tasks):
            raise ValueError(f"tasks must be a list of task names, got {tasks!r}.")
        self.limits = Limits(given_away=given_away, dominance=dominance, class_loss=class_loss)
        self.given_away, self.dominance, self.class_loss = given_away, dominance, class_loss
        self.measure, self.measure_args = measure, dict(measure_args)
        self.time_limit, self.on_alarm = time_limit, on_alarm
        self.state_dir, self.tasks = state_dir, list(tasks)

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        """Let the task through, or raise ``ContentBlockedException`` with what is odd."""
        try:
            self._look(shareable, fl_ctx)
        except Exception as e:
            self.log_error(fl_ctx, f"task refused: {e}", fire_event=False)
            raise ContentBlockedException(f"Rehearsal refused the task: {e}") from e
        return shareable

    def _look(self, shareable: Shareable, fl_ctx: FLContext) -> None:
        task, round_number = fl_ctx.get_prop(FLContextKey.TASK_NAME), round_of(shareable)
        if task not in self.tasks:
            raise UpdateError(f"The task is {task!r}; models of {', '.join(self.tasks)} are known.")
        dxo = from_shareable(shareable)
        if dxo.data_kind != DataKind.WEIGHTS or round_number is None:
            raise UpdateError("The task carries no whole model, or says no round.")
        data, _ = as_numpy(dxo.data)
        state = {n: np.asarray(v) for n, v in data.items()}
        store = Store(state_folder(self.state_dir, fl_ctx) / _FOLDER)
        memory = store.memory()
        if memory.stopped is not None:
            raise UpdateError(f"This run was refused for good: {memory.stopped}")
        store.keep(memory)
        found = rehearse(
            self.measure,
            state,
            self.measure_args,
            time_limit=self.time_limit,
            allowed=(self.measure,) if of_the_site(self) else (),
        )
        results = judge(found, self.limits)
        odd = [r for r in results if r.status == "odd"]
        outcome = self.on_alarm if odd else "let through"
        store.note(entry(round_number, digest(state), results, outcome))
        if not odd:
            self.log_info(fl_ctx, f"rehearsal: round {round_number}: nothing is given away")
            return
        said = "; ".join(f"{r.check}: {r.words}" for r in odd)
        said = f"the model of round {round_number} would give images of this site away: {said}"
        if self.on_alarm == "warn":
            self.log_warning(fl_ctx, f"rehearsal: {said}", fire_event=False)
            return
        if self.on_alarm == "refuse_run":
            store.keep(memory.with_stop(said))
        raise UpdateError(said)
