"""Refuse, before training, what would leave a site by another way than a task's result.

NVFlare applies a site's filters to the data and the results of tasks. Peer-to-peer workflows,
auxiliary messages, federated events, streams of logs, metrics or tensors pass none of them, so
they must not start. A task that no filter protects must not run either.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from nvflare.apis.dxo import DataKind, from_shareable
from nvflare.apis.filter import ContentBlockedException, Filter
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import ReservedHeaderKey, Shareable
from nvflare.private.privacy_manager import PrivacyService

from medleak.filters.adapters.rim import round_of
from medleak.filters.allowed import SITE_CLASSES, TASKS, matches, shadows, way_out
from medleak.filters.update import UpdateError

# What NVFlare's client process itself listens with, whatever the job.
_MACHINERY = (
    "nvflare.private.aux_runner.AuxRunner",
    "nvflare.private.stream_runner.ObjectStreamer",
    "nvflare.private.fed.client.client_runner.ClientRunner",
    "nvflare.widgets.info_collector.InfoCollector",
    "nvflare.widgets.fed_event.ClientFedEventRunner",
)
_BYOC = "byoc"
_CONTENT = {ReservedHeaderKey.HEADERS, "DXO"}


class WorkflowGuard(Filter):
    """Let a task through only if its result is all that can leave. For ``task_data_filters``.

    Looks at the task (a name in ``tasks``, a model and nothing else as data, a round), and at what
    the job runs at this site: every executor and component must be a class in ``classes`` or one of
    NVFlare's own machinery. A peer that starts training without a task never comes by here; the
    classes that could do so must be kept out by the site's class allow-list, and
    :class:`medleak.custom.flare.installed_client.InstalledClient` refuses to serve them.

    Args:
        tasks: Names of the tasks that may run.
        classes: What a job may run, full names; None: what jobs of our recipes run that ship no
            code. A name that ends with a dot admits everything below.
        allow_code: Let jobs bring code (BYOC), and then any class that is not known to send past
            the filters. Code can still do so by itself.
    """

    _always_serialize_args: ClassVar = ("tasks", "classes", "allow_code")

    def __init__(
        self,
        tasks: Sequence[str] = TASKS,
        classes: Sequence[str] | None = None,
        allow_code: bool = False,
    ) -> None:
        """Take what may run."""
        super().__init__()
        if isinstance(tasks, str) or not tasks or not all(isinstance(t, str) for t in tasks):
            raise ValueError(f"tasks must be a list of task names, got {tasks!r}.")
        if any("*" in t for t in tasks):
            raise ValueError(f"tasks must be full names, got {list(tasks)}: a pattern admits more.")
        self.tasks = list(tasks)
        self.classes = None if classes is None else list(classes)
        self.allow_code = bool(allow_code)

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        """Let the task through, or raise ``ContentBlockedException`` with the reason."""
        try:
            self._check_task(shareable, fl_ctx)
            check_workflow(fl_ctx, self.classes, allow_code=self.allow_code)
            _check_kit(fl_ctx)
        except Exception as e:
            self.log_error(fl_ctx, f"task refused: {e}", fire_event=False)
            raise ContentBlockedException(f"WorkflowGuard refused the task: {e}") from e
        return shareable

    def _check_task(self, shareable: Shareable, fl_ctx: FLContext) -> None:
        task = fl_ctx.get_prop(FLContextKey.TASK_NAME)
        if task not in self.tasks:
            raise UpdateError(
                f"The task is {task!r}; this site takes {', '.join(self.tasks)} only, whose "
                "results its filters protect. A round in its headers makes it none of them."
            )
        extra = sorted(str(k) for k in set(shareable) - _CONTENT)
        if extra:
            raise UpdateError(
                f"The task carries {extra[0]!r} beside its model: it configures something else "
                "than training. Send the model as one FLModel or DXO."
            )
        kind = from_shareable(shareable).data_kind
        if kind != DataKind.WEIGHTS:
            raise UpdateError(
                f"The task carries {getattr(kind, 'value', kind)}, not a model: what its result "
                "would be is not known. Send WEIGHTS."
            )
        if round_of(shareable) is None:
            raise UpdateError("The task says no round, so its result cannot be accounted for.")


def _check_kit(fl_ctx: FLContext) -> None:
    """Refuse if NVFlare may have read a job's file in place of one that the operator wrote."""
    engine: Any = fl_ctx.get_engine()
    root = Path(engine.get_workspace().root_dir)
    if not root.is_dir():
        raise UpdateError("The site's kit cannot be seen, so its files cannot be vouched for.")
    found = shadows(root)
    if found:
        raise UpdateError(
            f"{found[0].relative_to(root)} in this site's kit has the name of a file of its "
            "operator's and may have been read in its place. Remove it, and the job that brought "
            "it; only local/ and startup/ hold such files."
        )


def check_workflow(
    fl_ctx: FLContext,
    classes: Sequence[str] | None = None,
    *,
    allow_code: bool = False,
    executors_only: bool = False,
) -> None:
    """Raise ``UpdateError`` if the job of ``fl_ctx`` runs a class that is not in ``classes``.

    Args:
        fl_ctx: Of a client's job process.
        classes: As for :class:`WorkflowGuard`.
        allow_code: As for :class:`WorkflowGuard`.
        executors_only: Look at what serves tasks alone: a site without a policy has components of
            its own in every job, such as NVFlare's streamer of error logs.
    """
    meta = fl_ctx.get_prop(FLContextKey.JOB_META)
    if not isinstance(meta, Mapping):
        raise UpdateError("What the job is cannot be seen (no meta), so it is not run.")
    if meta.get(_BYOC) and not allow_code:
        raise UpdateError(
            "The job brings code (BYOC), which can send data by ways of its own. Export it with "
            "--installed, or let this site's WorkflowGuard allow_code."
        )
    allowed = (*_MACHINERY, *(SITE_CLASSES if classes is None else classes))
    for what, each in _running(fl_ctx):
        if executors_only and what != "executor":
            continue
        name = f"{type(each).__module__}.{type(each).__qualname__}"
        if matches(name, allowed):
            continue
        why = way_out(name)
        if why is None and allow_code:
            continue
        raise UpdateError(
            f"The job runs the {what} {name}: "
            f"{why or 'what it sends past the filters is not known'}. "
            "This site lets jobs run listed classes only."
        )


def _running(fl_ctx: FLContext) -> Iterator[tuple[str, object]]:
    """Every executor, component and event handler of the job, but for the site's own."""
    runner: Any = fl_ctx.get_prop(FLContextKey.RUNNER)
    router = getattr(runner, "task_router", None)
    engine: Any = fl_ctx.get_engine()
    if router is None or engine is None:
        raise UpdateError("What the job runs cannot be seen (no runner), so it is not run.")
    manager = PrivacyService.get_manager()
    own = {id(c) for c in ((manager and manager.components) or {}).values()}
    for executor in router.task_table.values():
        yield "executor", executor
    for component in engine.get_all_components().values():
        if id(component) not in own:
            yield "component", component
    for handler in engine.handlers:
        if id(handler) not in own:
            yield "component", handler
