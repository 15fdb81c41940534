"""A swarm tried with made-up weights: one round at each site, as if that site aggregated it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nvflare.apis.event_type import EventType
from nvflare.app_common.abstract.model import make_model_learnable
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.app_event_type import AppEventType

from medleak.custom import record
from medleak.custom.flare.checking.built_job import JOB_ID, BuiltJob, NotBuilt, Side
from medleak.custom.flare.checking.made_up import (
    KINDS,
    Checked,
    context,
    equal,
    made_up,
    result,
    state_of,
    transfer,
    unknown,
)
from medleak.custom.flare.swarm.recorder import SwarmRecorder

_PEER = "another-site"
_TASK = "train"


def is_of_swarm(job: BuiltJob) -> bool:
    """Whether the job's recorders are those of a swarm."""
    return any(_recorder(site) for site in job.sites)


def swarm_round(job: BuiltJob) -> Checked:
    """Let each site aggregate made-up updates, and look what its record holds.

    Raises:
        NotBuilt: A site has no recorder.
        NotTried: No weights could be made up.
    """
    state = state_of(job)
    seen = [
        f"server and {len(job.sites)} client app(s) are built; the model has {len(state)} tensors"
    ]
    bad = False
    for site in job.sites:
        recorder = _recorder(site)
        if recorder is None:
            raise NotBuilt(f"{site.name} has no SwarmRecorder: rounds that it aggregates are lost.")
        recorder.handle_event(EventType.START_RUN, context(job, site, peer="", task=""))
        seen.append(f"{site.name}: {_sends(site)}")
        for round, kind in enumerate(KINDS):
            why = _aggregate(job, site, recorder, state, round, kind)
            bad = bad or bool(why)
            seen.append(f"{site.name}: {kind} weights of another site: {why or 'recorded'}")
    seen += unknown(_root(job.sites[0]))
    seen.append(
        "no training ran, and no site sent another anything: what the job's own script sends was "
        "not tried"
    )
    return Checked(verdict="fails" if bad else "works", seen=seen)


def _recorder(site: Side) -> SwarmRecorder | None:
    parts = site.runner.components.values()
    return next((part for part in parts if isinstance(part, SwarmRecorder)), None)


def _sends(site: Side) -> str:
    executor = site.runner.task_router.route(_TASK)
    if executor is None:
        return f"no executor takes {_TASK}: the site only aggregates"
    kind = transfer(site.config, _TASK, executor)
    name = type(executor).__name__
    return f"{name} sends {kind} weights" if kind else f"what {name} sends is not known"


def _aggregate(
    job: BuiltJob,
    site: Side,
    recorder: SwarmRecorder,
    state: Mapping[str, Any],
    round: int,
    kind: str,
) -> str:
    """Why an update of another site is not in the record as it was sent; empty if it is."""
    begun = context(job, site, peer="", task=_TASK)
    model = make_model_learnable({name: value.copy() for name, value in state.items()}, {})
    begun.set_prop(AppConstants.GLOBAL_MODEL, model, private=True, sticky=False)
    begun.set_prop(AppConstants.CURRENT_ROUND, round, private=True, sticky=False)
    recorder.handle_event(AppEventType.ROUND_STARTED, begun)
    update = made_up(state, round)
    reply = result(state, update, kind, declared=False)
    reply.set_header(AppConstants.CURRENT_ROUND, round)
    came = context(job, site, peer=_PEER, task="swarm_report_learn_result")
    came.set_prop(AppConstants.TRAINING_RESULT, reply, private=True, sticky=False)
    recorder.handle_event(AppEventType.BEFORE_CONTRIBUTION_ACCEPT, came)
    if recorder.failure:
        return recorder.failure
    return next(_wrong(_root(site), round, update), "")


def _wrong(root: Path, round: int, update: Mapping[str, Any]) -> Iterator[str]:
    for left_out in record.read_manifest(root).left_out:
        if left_out.round == round:
            yield f"not recorded: {left_out.reason}"
    try:
        found = record.read_record(root, round, _PEER).update
    except record.RecordError as error:
        yield f"not recorded: {error}"
        return
    if found.keys() != update.keys() or not all(equal(v, update[n]) for n, v in found.items()):
        yield "recorded as another update than was sent"


def _root(site: Side) -> Path:
    return Path(site.workspace.get_run_dir(JOB_ID)) / "records"
