"""Tests of medleak.custom.flare.installed_client: when it trains, and which networks it takes."""

import json
import os
from types import SimpleNamespace

import pytest
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey, ReservedKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.fl_exception import UnsafeJobError
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal
from nvflare.app_common.ccwf.cyclic_client_ctl import CyclicClientController
from nvflare.app_common.executors.client_api_executor import ClientAPIExecutor
from nvflare.app_common.logging.job_log_streamer import JobLogStreamer

from medleak.custom.flare.installed_client import InstalledClient
from medleak.filters.allowed import NETWORKS_VARIABLE


@pytest.fixture
def client(monkeypatch):
    """An installed client whose training is seen, not done."""
    trained = []
    monkeypatch.setattr(ClientAPIExecutor, "execute", lambda *args: trained.append(args[1]))
    monkeypatch.setattr(ClientAPIExecutor, "handle_event", lambda *args: None)
    made = InstalledClient("--batch_size 1")
    vars(made)["trained"] = trained
    return made


def context(client, *, task="train", task_id="t1", running="train", others=(), handlers=()):
    ctx = FLContext()
    table = {"train": client, **{f"other_{n}": e for n, e in enumerate(others)}}
    runner = SimpleNamespace(
        task_router=SimpleNamespace(task_table=table),
        running_tasks={} if running is None else {"t1": SimpleNamespace(name=running)},
    )
    engine = SimpleNamespace(get_all_components=dict, handlers=list(handlers))
    for key, value in (
        (FLContextKey.TASK_NAME, task),
        (FLContextKey.TASK_ID, task_id),
        (FLContextKey.RUNNER, runner),
        (FLContextKey.JOB_META, {}),
        (ReservedKey.ENGINE, engine),
    ):
        ctx.set_prop(key, value, private=True, sticky=False)
    return ctx


def test_it_trains_for_a_task_of_the_runner(client):
    client.execute("train", Shareable(), context(client), Signal())
    streamed = context(client, handlers=[JobLogStreamer()])  # a stock site's own
    client.execute("train", Shareable(), streamed, Signal())
    assert client.trained == ["train", "train"]


CALLERS = {
    "no task is running": {"running": None},
    "another task is running": {"running": "swarm_config"},
    "the task has no number": {"task_id": None},
    "a peer-to-peer controller is there": {"others": [CyclicClientController()]},
}


@pytest.mark.parametrize("what", CALLERS)
def test_it_does_not_train_for_anybody_else(what, client):
    ctx = context(client, **CALLERS[what])
    with pytest.raises(UnsafeJobError, match="does not train"):
        client.execute("train", Shareable(), ctx, Signal())
    assert client.trained == []


@pytest.mark.parametrize(
    ("content", "allowed"),
    [(None, ""), ({"networks": ["mylab.nets."]}, "mylab.nets."), ({"networks": []}, "")],
)
def test_the_sites_networks_are_taken_at_the_start(client, tmp_path, monkeypatch, content, allowed):
    if content is not None:
        (tmp_path / "medleak.json").write_text(json.dumps(content))
    ctx = context(client)
    workspace = SimpleNamespace(get_site_config_dir=lambda: str(tmp_path))
    ctx.set_prop(FLContextKey.WORKSPACE_OBJECT, workspace, private=True, sticky=False)
    monkeypatch.setenv(NETWORKS_VARIABLE, "")
    client.handle_event(EventType.START_RUN, ctx)
    assert os.environ[NETWORKS_VARIABLE] == allowed


@pytest.mark.parametrize("text", ["{", '{"networks": "os."}', '{"networks": ["os"]}', "[]"])
def test_a_sites_file_that_cannot_be_read_stops_the_run(client, tmp_path, monkeypatch, text):
    panics = []
    monkeypatch.setattr(client, "system_panic", lambda reason, _: panics.append(reason))
    (tmp_path / "medleak.json").write_text(text)
    ctx = context(client)
    workspace = SimpleNamespace(get_site_config_dir=lambda: str(tmp_path))
    ctx.set_prop(FLContextKey.WORKSPACE_OBJECT, workspace, private=True, sticky=False)
    client.handle_event(EventType.START_RUN, ctx)
    assert len(panics) == 1
