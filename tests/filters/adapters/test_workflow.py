"""Tests of medleak.filters.adapters.workflow: what sends past the filters does not start."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.filter import ContentBlockedException
from nvflare.apis.fl_constant import FLContextKey, ReservedKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.app_common.ccwf.swarm_client_ctl import SwarmClientController
from nvflare.app_common.logging.job_log_streamer import JobLogStreamer
from nvflare.app_common.widgets.convert_to_fed_event import ConvertToFedEvent
from nvflare.private.aux_runner import AuxRunner
from nvflare.private.privacy_manager import PrivacyManager, PrivacyService, Scope

from medleak.custom.flare.installed_client import InstalledClient
from medleak.filters.adapters import PercentileGaussian, WorkflowGuard

SWARM = SwarmClientController(learn_task_name="train", learn_task_timeout=100)


EMPTY = Path(__file__).parent  # holds none of a kit's files


def installed():
    return InstalledClient("--batch_size 1")


def task(name="train", executors=None, components=(), handlers=(), meta=None, kit=EMPTY, **hidden):
    ctx = FLContext()
    table = {"train": installed()} if executors is None else executors
    runner = SimpleNamespace(task_router=SimpleNamespace(task_table=table))
    engine = SimpleNamespace(
        get_all_components=lambda: dict(enumerate(components)),
        handlers=list(handlers),
        get_workspace=lambda: SimpleNamespace(root_dir=str(kit)),
    )
    props = {
        FLContextKey.TASK_NAME: name,
        FLContextKey.RUNNER: runner,
        FLContextKey.JOB_META: {} if meta is None else meta,
        ReservedKey.ENGINE: engine,
    }
    for key, value in props.items():
        if key not in hidden.get("without", ()):
            ctx.set_prop(key, value, private=True, sticky=False)
    return ctx


def model(round_number: int | None = 0, kind=DataKind.WEIGHTS):
    data = DXO(kind, data={"w": np.ones(3, np.float32)}).to_shareable()
    if round_number is not None:
        data.set_header("current_round", round_number)
    return data


def test_a_task_of_an_installed_job_goes_through_unchanged():
    data = model()
    framework = AuxRunner(SimpleNamespace())
    ours = PercentileGaussian(1.0)
    assert WorkflowGuard().process(data, task(handlers=[framework, ours])) is data


CONFIGURATION = Shareable({"cwf.config": {"cwf.clients": ["site-1"]}})
CONFIGURATION.set_header("current_round", 0)
REFUSED = {
    "a swarm's configuration, whatever its round": (CONFIGURATION, task("swarm_config")),
    "a configuration under the name of training": (CONFIGURATION, task()),
    "another task with a model and a round": (model(), task("swarm_start")),
    "submit_model": (model(), task("submit_model")),
    "a pattern": (model(), task("*")),
    "something else than a model": (model(kind=DataKind.ANALYTIC), task()),
    "differences": (model(kind=DataKind.WEIGHT_DIFF), task()),
    "a task without a round": (model(None), task()),
    "a swarm beside training": (
        model(),
        task(executors={"train": installed(), "swarm_*": SWARM}),
    ),
    "events to the server": (model(), task(components=[ConvertToFedEvent(["x"])])),
    "a stream of logs": (model(), task(handlers=[JobLogStreamer()])),
    "a class of the job's": (model(), task(components=[SimpleNamespace()])),
    "code of the job's": (model(), task(meta={"byoc": True})),
    "a job that cannot be seen": (model(), task(without=[FLContextKey.RUNNER])),
    "a job without meta": (model(), task(without=[FLContextKey.JOB_META])),
}


@pytest.mark.parametrize("what", REFUSED)
def test_everything_else_is_refused_before_training(what):
    data, ctx = REFUSED[what]
    with pytest.raises(ContentBlockedException, match="refused the task"):
        WorkflowGuard().process(data, ctx)


def test_where_code_is_allowed_known_ways_out_still_are_not():
    guard = WorkflowGuard(allow_code=True)
    own = SimpleNamespace()
    guard.process(model(), task(executors={"train": own}, meta={"byoc": True}))
    with pytest.raises(ContentBlockedException, match="peer to peer"):
        guard.process(model(), task(executors={"x": SWARM, "train": own}, meta={"byoc": True}))
    with pytest.raises(ContentBlockedException, match="The task is 'validate'"):
        guard.process(model(), task("validate", meta={"byoc": True}))


def test_the_sites_own_components_are_its_own(monkeypatch):
    own = SimpleNamespace()
    scope = Scope()
    scope.set_name("default")
    manager = PrivacyManager([scope], "default", {"own": own})
    monkeypatch.setattr(PrivacyService, "manager", manager)
    WorkflowGuard().process(model(), task(components=[own], handlers=[own]))
    with pytest.raises(ContentBlockedException, match="refused the task"):
        WorkflowGuard().process(model(), task(components=[own, SimpleNamespace()]))


@pytest.mark.parametrize(
    "name", ["job/app/config/resources.json", "resources.yml", "job/privacy.json.default"]
)
def test_a_file_that_nvflare_may_have_read_as_the_sites_stops_every_task(name, tmp_path):
    for own in ("local/resources.json", "startup/fed_client.json", "job/custom/privacy.py", name):
        (tmp_path / own).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / own).write_text("{}")
    with pytest.raises(ContentBlockedException, match=f"{name} in this site's kit"):
        WorkflowGuard().process(model(), task(kit=tmp_path))
    (tmp_path / name).unlink()
    WorkflowGuard().process(model(), task(kit=tmp_path))


def test_a_kit_that_cannot_be_seen_stops_every_task():
    ctx = task(kit=EMPTY / "nowhere")
    with pytest.raises(ContentBlockedException, match="refused the task"):
        WorkflowGuard().process(model(), ctx)


@pytest.mark.parametrize("tasks", ["train", [], ["*"], ["train", "sw*"], [1]])
def test_tasks_are_full_names(tasks):
    with pytest.raises(ValueError, match="tasks"):
        WorkflowGuard(tasks)
