"""The sentinel as filters: a model that looks like a trap is not trained."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from nvflare.apis.fl_context import FLContext

from medleak.filters import checks
from medleak.filters.adapters.compression import STATE_DIR
from medleak.filters.adapters.incoming.watch import Incoming, Watch
from medleak.filters.adapters.rim import FailClosedFilter, global_model, state_folder
from medleak.filters.sentinel.checks import step
from medleak.filters.sentinel.examination import examine, noted
from medleak.filters.sentinel.memory import entry
from medleak.filters.sentinel.store import Store

_FOLDER = "sentinel"


class Sentinel(Watch):
    """Refuse a task, before training, whose model looks like a trap. For ``task_data_filters``.

    Runs every check of :mod:`medleak.filters.sentinel` against what this site has seen of the run,
    kept in ``state_dir`` in the site's own folder: statistics and hashes of the models, and the
    last one. A model that cannot be read or examined is refused. A refused model is not remembered
    as honest; the next one is compared with the last that was let through. It sees nothing that
    moves slower than honest training (docs/threat-model.md).

    List :class:`SentinelNotes` last in ``task_result_filters``: without it the site's own update is
    not known, and how far the model moved is not examined.

    Args:
        on_alarm: ``refuse_round``: this task; ``refuse_run``: this and every later one of the job,
            until its folder in ``state_dir`` is removed; ``warn``: none, log a line.
        approved: The network's hash as ``medleak sentinel MODEL`` prints it; None: what comes first
            is taken for it.
        step_limit: How many times larger than the site's own update a step of the model may be;
            up to 25 times as much in the first step, or where earlier steps were like it.
        state_dir: Folder in the site's own.
        tasks: Tasks that carry a model to be trained; all others are refused.
    """

    _always_serialize_args: ClassVar = ("on_alarm", "approved", "step_limit", "tasks")
    _folder: ClassVar = _FOLDER

    def __init__(
        self,
        on_alarm: str = "refuse_round",
        approved: str | None = None,
        step_limit: float = step.LIMIT,
        state_dir: str = STATE_DIR,
        tasks: Sequence[str] = ("train",),
    ) -> None:
        """Take what to do, and what is approved."""
        super().__init__(on_alarm, state_dir, tasks)
        checks.require_positive("step_limit", step_limit, "a model that is trained moves.")
        hexadecimal = isinstance(approved, str) and not set(approved) - set("0123456789abcdef")
        if approved is not None and not (hexadecimal and len(approved) == 64):
            raise ValueError(
                f"approved must be the 64 digits that medleak sentinel prints, got {approved!r}."
            )
        self.approved, self.step_limit = approved, step_limit

    def look(self, came: Incoming, fl_ctx: FLContext) -> None:
        """Run every check, and remember the model unless it is refused."""
        structure = came.memory.structure
        same = structure is None or set(structure) == set(came.state)
        found = examine(
            came.state,
            came.memory,
            came.store.last(set(came.state)) if same else None,
            round=came.round,
            approved=self.approved,
            step_limit=self.step_limit,
        )
        outcome = self.on_alarm if found.odd else "let through"
        came.store.note(entry(came.round, found.profile.sha256, list(found.results), outcome))
        if not found.odd or self.on_alarm == "warn":
            came.store.keep(came.memory.with_model(found.profile, came.round), came.state)
        if found.odd:
            said = f"the model of round {came.round} looks like a trap: {found.line}"
            self.alarm(said, came, fl_ctx)
        else:
            self.log_info(fl_ctx, f"sentinel: round {came.round}: {found.line}")


class SentinelNotes(FailClosedFilter):
    """Note the size of what leaves, for :class:`Sentinel`. Last in ``task_result_filters``.

    Changes nothing. A size is a statistic of what the server gets anyway, and stays at the site.
    """

    _always_serialize_args: ClassVar = ("tasks",)

    def __init__(self, state_dir: str = STATE_DIR, tasks: Sequence[str] = ("train",)) -> None:
        """Take the folder that :class:`Sentinel` was given."""
        super().__init__(tasks)
        self.state_dir = state_dir

    def protect(
        self, update: Mapping[str, Any], meta: dict[str, Any], fl_ctx: FLContext
    ) -> Mapping[str, Any]:
        """Keep the sizes; the update goes on as it is."""
        store = Store(state_folder(self.state_dir, fl_ctx) / _FOLDER)
        state, _ = global_model(fl_ctx)
        sent = {n: np.asarray(v) for n, v in update.items()}
        store.keep(noted(store.memory(), {n: np.asarray(v) for n, v in state.items()}, sent))
        return update
