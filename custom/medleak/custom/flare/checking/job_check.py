"""``medleak attach --check``: made-up weights through the job's own filters and recorder.

Server and sites are built as NVFlare builds them, with every constructor. A model and updates are
made up; nothing is trained, no executor runs. What is seen is what NVFlare's filters and the
recorder do with an update of the job's own network, and what the record holds afterwards.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.event_type import EventType
from nvflare.apis.filter import Filter
from nvflare.apis.fl_constant import FilterKey, FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.apis.utils.task_utils import apply_filters
from nvflare.app_common.app_constant import AppConstants

from medleak.custom import record
from medleak.custom.flare.checking.built_job import (
    JOB_ID,
    BuiltJob,
    NotBuilt,
    NotTried,
    Side,
    built,
)
from medleak.custom.flare.checking.made_up import (
    KINDS,
    Checked,
    Verdict,
    context,
    equal,
    made_up,
    named_network,
    result,
    state_of,
    transfer,
    unknown,
)
from medleak.custom.flare.checking.swarm_check import is_of_swarm, swarm_round
from medleak.custom.flare.foreign_job import without_task
from medleak.custom.flare.recorder import UpdateRecorder
from medleak.filters.registry import ROWS

_DEFENCES = frozenset(row.make.__name__ for row in ROWS)  # each changes what it sends


@dataclass(frozen=True, slots=True, kw_only=True)
class _Try:
    """One made-up result on its way; ``why`` is empty if it was recorded and protected."""

    kind: str
    declared: bool
    why: str
    detail: str = ""

    @property
    def text(self) -> str:
        with_meta = "with" if self.declared else "without"
        became = self.why or f"recorded{self.detail}"
        return f"{self.kind} weights {with_meta} a declared schedule: {became}"


def check_folder(job: Path, *, allow: Sequence[str] = ()) -> Checked:
    """Try the job that `medleak.custom.attach.attach_folder` wrote, before a federation does.

    Args:
        job: Its folder.
        allow: Names, or prefixes that end with a dot, of the job's own code that may run here.
    """
    try:
        with built(job, allow=allow) as made:
            return swarm_round(made) if is_of_swarm(made) else _round(made)
    except NotTried as error:
        return Checked(verdict="not known", seen=[f"not tried: {error}"])
    except NotBuilt as error:
        return Checked(verdict="fails", seen=[str(error)])


def _round(job: BuiltJob) -> Checked:
    tasks = _recorded_tasks(job.server)
    if not tasks:
        raise NotBuilt("The server has no recorder among its task_result_filters.")
    state = state_of(job)
    seen = [
        f"server and {len(job.sites)} client app(s) are built; the model has {len(state)} tensors"
    ]
    seen += _other_network(job, state)
    verdicts: list[Verdict] = []
    for side in (job.server, *job.sites):
        _fire(side.runner, EventType.START_RUN, context(job, side, peer="", task=""))
    rounds = count()  # no two of a site alike: a record holds one update of a site in a round
    for task in tasks:
        for site in job.sites:
            verdict, lines = _site(job, site, task, state, rounds)
            verdicts.append(verdict)
            seen += [f"{site.name}, task {task}: {line}" for line in lines]
    root = Path(job.server.workspace.get_run_dir(JOB_ID)) / "records"
    bad = [f"the record of round {r}, {s} is bad: {e}" for r, s, e in record.verify(root) if e]
    seen += [*bad, *unknown(root)]
    seen.append(
        "no training ran: what the job's own script sends, and a site's own privacy.json (medleak "
        "doctor), were not tried"
    )
    if bad or "fails" in verdicts:
        return Checked(verdict="fails", seen=seen)
    if own := without_task(job.server.config):
        seen.append(f"not tried: {own[0]} does not say which task trains, and train is assumed")
        return Checked(verdict="not known", seen=seen)
    return Checked(verdict="not known" if "not known" in verdicts else "works", seen=seen)


def _recorded_tasks(server: Side) -> list[str]:
    end = f"{FilterKey.DELIMITER}{FilterKey.IN}"
    return [
        key.removesuffix(end)
        for key, filters in server.runner.task_result_filters.items()
        if key.endswith(end) and any(isinstance(f, UpdateRecorder) for f in filters)
    ]


def _other_network(job: BuiltJob, state: Mapping[str, Any]) -> Iterator[str]:
    """Where the network that the record will name is not the one that the job trains."""
    try:
        named = named_network(job)
    except NotTried as error:
        yield f"no audit could build the network that the record will name: {error}"
        return
    theirs = {} if named is None else {n: tuple(t.shape) for n, t in named.state_dict().items()}
    if theirs and theirs != (own := {n: np.shape(v) for n, v in state.items()}):
        differ = {n for n, _ in theirs.items() ^ own.items()}
        yield (
            f"the network that the record will name is not the job's ({len(differ)} tensors "
            f"differ, first {min(differ)!r}): an audit would refuse the record"
        )


def _site(
    job: BuiltJob, site: Side, task: str, state: Mapping[str, Any], rounds: Iterator[int]
) -> tuple[Verdict, list[str]]:
    executor = site.runner.task_router.route(task)
    if executor is None:
        return "fails", ["no executor takes it, so nothing would be sent"]
    sends = transfer(site.config, task, executor)
    tries = [
        _send(job, site, task, state, round=next(rounds), kind=kind, declared=declared)
        for kind in KINDS
        for declared in (False, True)
    ]
    lines = [t.text for t in tries]
    if sends is not None:
        failed = [t for t in tries if t.kind == sends and t.why]
        lines.insert(0, f"{type(executor).__name__} sends {sends} weights")
        return ("fails" if failed else "works"), lines
    lines.insert(0, f"which weights {type(executor).__name__} sends is not known")
    if all(t.why for t in tries):
        return "fails", lines
    return ("not known" if any(t.why for t in tries) else "works"), lines


def _send(
    job: BuiltJob,
    site: Side,
    task: str,
    state: Mapping[str, Any],
    *,
    round: int,
    kind: str,
    declared: bool,
) -> _Try:
    """One task out and its result back, in NVFlare's order of filters and events."""
    server, runner = job.server, site.runner
    out = context(job, server, peer=site.name, task=task)
    at_site = context(job, site, peer=server.name, task=task)

    def outcome(why: object, detail: str = "") -> _Try:
        said = " ".join(str(why).split())[:400]
        return _Try(kind=kind, declared=declared, why=said, detail=detail)

    model = DXO(DataKind.WEIGHTS, data={n: v.copy() for n, v in state.items()}).to_shareable()
    model.set_header(AppConstants.CURRENT_ROUND, round)
    model.set_header(AppConstants.NUM_ROUNDS, round + 1)
    model.add_cookie(AppConstants.CONTRIBUTION_ROUND, round)
    update = made_up(state, round)
    try:
        model = _filtered("task_data_filters", model, server, out, FilterKey.OUT)
        out.set_prop(FLContextKey.TASK_DATA, model, private=True, sticky=False)
        _fire(server.runner, EventType.AFTER_TASK_DATA_FILTER, out)
        model = _filtered("task_data_filters", model, site, at_site, FilterKey.IN)
        at_site.set_prop(FLContextKey.TASK_DATA, model, private=True, sticky=False)
        _fire(runner, EventType.AFTER_TASK_DATA_FILTER, at_site)
        reply = result(state, update, kind, declared)
        reply = _filtered("task_result_filters", reply, site, at_site, FilterKey.OUT)
        reply.set_cookie_jar(model.get_cookie_jar())
    except NotTried:
        raise
    except Exception as error:
        return outcome(f"it does not leave the site: {error}")
    back = context(job, server, peer=site.name, task=task)
    try:
        _filtered("task_result_filters", reply, server, back, FilterKey.IN)
    except Exception as error:
        return outcome(f"not recorded: {error}")
    return outcome(*_in_record(server, site, task, round, update))


def _in_record(
    server: Side, site: Side, task: str, round: int, update: Mapping[str, Any]
) -> tuple[str, str]:
    """Why an update is not in the record, else what the site's filters left of it."""
    root = Path(server.workspace.get_run_dir(JOB_ID)) / "records"
    try:
        for left_out in record.read_manifest(root).left_out:
            if (left_out.round, left_out.site) == (round, site.name):
                return f"not recorded: {left_out.reason}", ""
        found = record.read_record(root, round, site.name)
    except record.RecordError as error:
        return f"not recorded: {error}", ""
    defences = [str(d.get("name")) for d in found.info.defences]
    same = [n for n, v in found.update.items() if equal(v, update[n])]
    gone = len(update) - len(found.update)
    if len(same) == len(update):
        key = f"{task}{FilterKey.DELIMITER}{FilterKey.OUT}"
        filters = site.runner.task_result_filters.get(key) or []
        if idle := [type(f).__name__ for f in filters if type(f).__name__ in _DEFENCES]:
            return f"recorded as it was made: {', '.join(idle)} protects nothing of it", ""
        return "", ", as it was sent"
    by = f" by {', '.join(defences)}" if defences else ""
    return "", f", {len(found.update) - len(same)} tensors changed and {gone} withheld{by}"


def _filtered(name: str, data: Shareable, side: Side, ctx: FLContext, direction: str) -> Shareable:
    task = str(ctx.get_prop(FLContextKey.TASK_NAME))
    found: Any = apply_filters(name, data, ctx, getattr(side.runner, name), task, direction)
    if not isinstance(found, Shareable):
        raise TypeError(f"{name} of {side.name} made a {type(found).__name__} of it")
    return found


def _fire(runner: Any, event: str, ctx: FLContext) -> None:
    """Tell the filters alone: other components would look for the rest of a federation."""
    for handler in runner.handlers:
        if isinstance(handler, Filter):
            try:
                handler.handle_event(event, ctx)
            except Exception as error:
                name = type(handler).__name__
                raise NotTried(
                    f"{name} cannot take {event} outside a federation: {error}"
                ) from error
