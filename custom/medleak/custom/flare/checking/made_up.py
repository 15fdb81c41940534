"""A made-up model and updates, and the context that NVFlare would give with them."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.fl_constant import FLContextKey, ReservedKey
from nvflare.apis.fl_context import FLContext, FLContextManager
from nvflare.apis.shareable import Shareable
from torch import nn

from medleak.custom import record
from medleak.custom.flare.checking.built_job import JOB_ID, BuiltJob, NotTried, Side
from medleak.custom.flare.recorder import UpdateRecorder
from medleak.custom.flare.swarm.recorder import SwarmRecorder

Verdict = Literal["works", "fails", "not known"]

_HP = {"n_images": 8, "n_steps": 1, "batch_size": 8, "local_epochs": 1, "lr": 0.01}
KINDS = {"DIFF": DataKind.WEIGHT_DIFF, "FULL": DataKind.WEIGHTS}
_SIZE = 2e-3  # of the made-up changes: what one round of a ResNet makes of a weight


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a check saw.

    Attributes:
        verdict: ``works``: what the job sends would be recorded; ``fails``: it would not, or the
            job would not start; ``not known``: it could not be tried.
        seen: A sentence each.
    """

    verdict: Verdict
    seen: Sequence[str]


def state_of(job: BuiltJob) -> dict[str, Any]:
    """The state dict of the job's own network, with the values that it is made with."""
    parts = [p for side in (job.server, *job.sites) for p in side.runner.components.values()]
    found = [m for m in (getattr(p, "model", None) for p in parts) if m is not None]
    network = next((m for m in found if isinstance(m, nn.Module)), None) or named_network(job)
    if network is None:
        raise NotTried(
            "the job names no network, so no weights could be made up: give it by --model."
        )
    try:
        return {n: t.detach().cpu().numpy() for n, t in network.state_dict().items()}
    except TypeError as error:  # bfloat16, which NVFlare's own persistor cannot send either
        raise NotTried(f"the network's tensors have no form in numpy: {error}") from error


def named_network(job: BuiltJob) -> nn.Module | None:
    """The network that the record will name, built; None where it names none."""
    for each in _recorders(job):
        if each.model_path:
            network = job.make(each.model_path, each.model_args or {})
            if isinstance(network, nn.Module):
                return network
            raise NotTried(f"{each.model_path} makes no network of PyTorch.")
    return None


def _recorders(job: BuiltJob) -> Iterator[UpdateRecorder | SwarmRecorder]:
    parts = [each for chain in job.server.runner.task_result_filters.values() for each in chain]
    parts += [each for site in job.sites for each in site.runner.components.values()]
    yield from (each for each in parts if isinstance(each, UpdateRecorder | SwarmRecorder))


def transfer(config: Mapping[str, Any], task: str, executor: Any) -> str | None:
    """DIFF or FULL, as the job or the executor's default says; None where neither does."""
    entries = sorted(config.get("executors") or [], key=lambda e: task not in e["tasks"])
    for entry in entries:  # an exact name before a pattern, as NVFlare's router has it
        if any(fnmatch(task, pattern) for pattern in entry["tasks"]):
            said = (entry["executor"].get("args") or {}).get("params_transfer_type")
            if said is not None:
                return str(said) if str(said) in KINDS else None
            break
    known = inspect.signature(type(executor)).parameters.get("params_transfer_type")
    default = getattr(known, "default", None)
    default = getattr(default, "value", default)
    return default if default in KINDS else None


def equal(a: Any, b: Any) -> bool:
    """Up to the rounding of weights that were sent in full."""
    return np.allclose(np.asarray(a, float), np.asarray(b, float), rtol=1e-3, atol=1e-6)


def made_up(state: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """An update that a round of training could have made of ``state``, by its size."""
    rng = np.random.default_rng(seed)
    update = {}
    for name, value in state.items():
        if not np.issubdtype(value.dtype, np.floating):
            change = np.full_like(value, int(name.endswith("num_batches_tracked")))
        elif name.endswith("running_var"):
            change = 0.01 * value
        else:
            change = (_SIZE * rng.standard_normal(value.shape)).astype(value.dtype)
        update[name] = np.asarray(change)
    return update


def result(
    state: Mapping[str, Any], update: Mapping[str, Any], kind: str, declared: bool
) -> Shareable:
    """What a site would send: weights of ``kind``, with a schedule if ``declared``."""
    full = kind == "FULL"
    data = {n: np.asarray(state[n] + v if full else v.copy()) for n, v in update.items()}
    return DXO(KINDS[kind], data=data, meta={"hp": dict(_HP)} if declared else {}).to_shareable()


def context(job: BuiltJob, side: Side, *, peer: str, task: str) -> FLContext:
    """As NVFlare gives it to the components of ``side`` with a ``task`` to or from ``peer``."""
    engine = SimpleNamespace(
        get_workspace=lambda: side.workspace,
        get_all_components=lambda: side.runner.components,
        get_component=side.runner.components.get,
        handlers=[],
        fire_event=lambda *_: None,
    )
    manager = FLContextManager(engine=engine, identity_name=side.name, job_id=JOB_ID)
    ctx = manager.new_context()
    other = FLContext()
    for key, value in ((ReservedKey.IDENTITY_NAME, peer), (ReservedKey.RUN_NUM, JOB_ID)):
        other.set_prop(key, value, private=False, sticky=False)
    ctx.set_peer_context(other)
    router = getattr(side.runner, "task_router", None)
    find = router.route if router is not None else None
    for key, value in (
        (FLContextKey.TASK_NAME, task),
        (FLContextKey.TASK_ID, "made-up"),
        (FLContextKey.RUNNER, SimpleNamespace(task_router=router, find_executor=find)),
        (FLContextKey.WORKSPACE_OBJECT, side.workspace),
        (FLContextKey.WORKSPACE_ROOT, side.workspace.get_root_dir()),
        (FLContextKey.JOB_META, dict(job.meta)),
    ):
        ctx.set_prop(key, value, private=True, sticky=False)
    return ctx


def unknown(root: Path) -> Iterator[str]:
    """What of the record of a job that declares nothing an audit would have to be told."""
    try:
        manifest = record.read_manifest(root)
    except record.RecordError as error:
        yield f"the record was not begun: {error}"
        return
    said = {"network": manifest.model, "training loss": manifest.task, "images": manifest.input}
    missing = [what for what, value in said.items() if value is None]
    if missing:
        yield f"an audit will have to be told: {', '.join(missing)}"
    yield "and the schedule (images, batch size, lr), unless the job's script declares it in hp"
