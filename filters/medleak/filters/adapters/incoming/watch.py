"""What filters share that look at a model before it is trained: how it comes, and what follows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from nvflare.apis.dxo import DataKind, from_shareable
from nvflare.apis.filter import ContentBlockedException, Filter
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable

from medleak.filters import checks
from medleak.filters.adapters.payload import as_numpy
from medleak.filters.adapters.rim import round_of, state_folder
from medleak.filters.sentinel.memory import Memory
from medleak.filters.sentinel.store import Store
from medleak.filters.update import UpdateError

ON_ALARM = ("refuse_round", "refuse_run", "warn")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Incoming:
    """A model that came to be trained.

    Attributes:
        state: Its entries.
        round: That the task says.
        store: Where this filter keeps what it has seen of the run.
        memory: What ``store`` held before this model.
    """

    state: dict[str, np.ndarray]
    round: int
    store: Store
    memory: Memory


class Watch(Filter):
    """Base of filters that refuse models: whatever cannot be looked at is refused, too."""

    _folder: ClassVar[str]
    """Of a subclass, in ``state_dir`` of a job."""

    def __init__(self, on_alarm: str, state_dir: str, tasks: Sequence[str]) -> None:
        """Take what to do on alarm, where to keep what was seen, and the tasks with a model."""
        super().__init__()
        checks.require_choice("on_alarm", on_alarm, ON_ALARM)
        if isinstance(tasks, str) or not tasks or not all(isinstance(t, str) for t in tasks):
            raise ValueError(f"tasks must be a list of task names, got {tasks!r}.")
        self.on_alarm, self.state_dir, self.tasks = on_alarm, state_dir, list(tasks)

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        """Let the task through, or raise ``ContentBlockedException`` with what is odd."""
        try:
            self._receive(shareable, fl_ctx)
        except Exception as e:
            self.log_error(fl_ctx, f"task refused: {e}", fire_event=False)
            raise ContentBlockedException(f"{type(self).__name__} refused the task: {e}") from e
        return shareable

    def look(self, came: Incoming, fl_ctx: FLContext) -> None:
        """Look at the model that ``came``; see `alarm`. To be overridden."""
        raise NotImplementedError

    def alarm(self, said: str, came: Incoming, fl_ctx: FLContext) -> None:
        """Do what was asked for: return where that is a warning, or raise ``UpdateError``."""
        if self.on_alarm == "warn":
            self.log_warning(fl_ctx, f"{self._folder}: {said}", fire_event=False)
            return
        if self.on_alarm == "refuse_run":
            came.store.keep(came.memory.with_stop(said))
        raise UpdateError(said)

    def _receive(self, shareable: Shareable, fl_ctx: FLContext) -> None:
        task, round_number = fl_ctx.get_prop(FLContextKey.TASK_NAME), round_of(shareable)
        if task not in self.tasks:
            raise UpdateError(f"The task is {task!r}; models of {', '.join(self.tasks)} are known.")
        dxo = from_shareable(shareable)
        if dxo.data_kind != DataKind.WEIGHTS or round_number is None:
            raise UpdateError("The task carries no whole model, or says no round.")
        data, _ = as_numpy(dxo.data)
        store = Store(state_folder(self.state_dir, fl_ctx) / self._folder)
        memory = store.memory()
        if memory.stopped is not None:
            raise UpdateError(f"This run was refused for good: {memory.stopped}")
        state = {n: np.asarray(v) for n, v in data.items()}
        self.look(Incoming(state=state, round=round_number, store=store, memory=memory), fl_ctx)
