"""Whether any result passes a filter at all: one that is never called does nothing.

NVFlare calls a result filter for results of tasks whose name its chain has. Updates that travel by
other ways, or under another name, never come by, and nothing of NVFlare's says so.
"""

import contextlib
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext

from medleak.filters.allowed import updates_past_filters

_SEEN = "medleak_result_seen"  # a file: the simulator gives a site a new process every round
_TYPES = ("_params_transfer_type", "params_transfer_type")


class Attendance:
    """Which tasks came, in a run, and whether a result of those that count did."""

    def __init__(self, tasks: Sequence[str], *, processes: bool) -> None:
        """Nothing came by yet.

        Args:
            tasks: Names of the tasks whose results count.
            processes: A run may take several, as a site's does in the simulator.
        """
        self._tasks, self._processes = tasks, processes
        self._names: set[str] = set()
        self._seen = False
        self.refused = False  # nothing was run, which was said already

    def task_came(self, fl_ctx: FLContext) -> None:
        """A task of any name was sent."""
        self._names.add(str(fl_ctx.get_prop(FLContextKey.TASK_NAME)))

    def result_came(self, fl_ctx: FLContext) -> None:
        """A result came by."""
        if self._processes and not self._seen:
            # Without the file the end of the run may be called silent where it was not: no harm.
            with contextlib.suppress(Exception):
                _file(fl_ctx).touch()
        self._seen = True

    @property
    def idle(self) -> bool:
        """No task of any name came."""
        return not self._names

    def silence(self, fl_ctx: FLContext) -> str:
        """At the end of a run, that nothing came by, as a sentence's beginning; empty if it did."""
        if self._processes and not self._seen:
            with contextlib.suppress(Exception):
                self._seen = _file(fl_ctx).exists()
        if self._seen or self.refused:
            return ""
        ran = ", ".join(sorted(self._names)) or "none"
        return (
            f"no result of the task {' or '.join(self._tasks)} came by in the whole run (tasks "
            f"that were sent: {ran})"
        )


def _file(fl_ctx: FLContext) -> Path:
    engine: Any = fl_ctx.get_engine()
    return Path(engine.get_workspace().get_run_dir(fl_ctx.get_job_id())) / _SEEN


def unprotected(fl_ctx: FLContext, tasks: Sequence[str], *, whole_weights: bool = True) -> str:
    """Why filters of ``tasks`` cannot protect what the job of ``fl_ctx`` sends; empty if they can.

    What can be known before training: an executor whose updates are no results of tasks, or, where
    ``whole_weights`` cannot leave, one that sends them. Of a job whose executors cannot be seen
    nothing is said.
    """
    runner: Any = fl_ctx.get_prop(FLContextKey.RUNNER)
    table = getattr(getattr(runner, "task_router", None), "task_table", {})
    for executor in table.values():
        if why := updates_past_filters(type(executor)):
            name = type(executor).__name__
            return f"The job runs {name}: {why}. medleak's filters would never be called."
    for pattern, executor in () if whole_weights else table.items():
        takes = any(fnmatch(task, pattern) for task in tasks)
        if takes and _transfer_type(executor) == "FULL":
            return (
                f"{type(executor).__name__} sends FULL weights, which would hold the entries that "
                "this site keeps for itself: they would be withheld after the training. Set "
                "params_transfer_type to DIFF, also where the script sends differences itself."
            )
    return ""


def _transfer_type(executor: object) -> str:
    """What an executor of NVFlare's was told to send; empty where it has no such argument."""
    found = next((v for name in _TYPES if (v := getattr(executor, name, None)) is not None), "")
    return str(getattr(found, "value", found))
