"""Tests of the recorder at the sites of a swarm, with the calls that NVFlare's Gatherer makes."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey, ReservedKey
from nvflare.apis.fl_context import FLContext, FLContextManager
from nvflare.app_common.abstract.model import make_model_learnable
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.app_event_type import AppEventType
from nvflare.app_common.ccwf.common import Constant
from nvflare.app_common.ccwf.swarm_client_ctl import SwarmClientController

from medleak.custom.flare.swarm.recorder import SwarmRecorder
from medleak.custom.record import list_updates, read_manifest, read_record, strays, verify

MODEL = {"w": np.arange(4, dtype=np.float32), "n": np.array(1, np.int64)}
UPDATE = {"w": np.full(4, 0.5, np.float32), "n": np.array(1, np.int64)}


class Site:
    """A site of a swarm: what NVFlare calls of its components, in its order."""

    def __init__(self, run_dir, *, runner=None, controller=True, **settings):
        self.run_dir, self.runner, self.fired, self.status = run_dir, runner, [], []
        self.recorder = SwarmRecorder(**settings)
        if controller:
            made: Any = object.__new__(SwarmClientController)
            made.update_status = lambda **said: self.status.append(said)
            self.fire(Constant.EXECUTOR_INITIALIZED, **{Constant.EXECUTOR: made})
        self.fire(EventType.START_RUN)

    @property
    def records(self):
        return self.run_dir / "records"

    def fire(self, event, peer="site-2", **props):
        engine = SimpleNamespace(
            get_workspace=lambda: SimpleNamespace(get_run_dir=lambda job_id: str(self.run_dir)),
            fire_event=lambda event, context: self.fired.append(
                (event, context.get_prop(FLContextKey.EVENT_DATA))
            ),
        )
        context = FLContextManager(engine=engine, identity_name="site-1", job_id="j").new_context()
        other = FLContext()
        other.set_prop(ReservedKey.IDENTITY_NAME, peer, private=False, sticky=False)
        context.set_peer_context(other)
        for key, value in {FLContextKey.RUNNER: self.runner, **props}.items():
            context.set_prop(key, value, private=True, sticky=False)
        self.recorder.handle_event(event, context)

    def begin(self, round=0, model=None):
        learnable = make_model_learnable(dict(model or MODEL), {})
        self.fire(
            AppEventType.ROUND_STARTED,
            **{AppConstants.CURRENT_ROUND: round, AppConstants.GLOBAL_MODEL: learnable},
        )

    def receive(self, peer="site-2", round=0, kind=DataKind.WEIGHTS, data=None):
        whole = {n: MODEL[n] + v for n, v in UPDATE.items()}
        sent = data or (whole if kind == DataKind.WEIGHTS else UPDATE)
        result = DXO(kind, data=dict(sent)).to_shareable()
        result.set_header(AppConstants.CURRENT_ROUND, round)
        props = {AppConstants.TRAINING_RESULT: result}
        self.fire(AppEventType.BEFORE_CONTRIBUTION_ACCEPT, peer, **props)


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


@pytest.mark.parametrize("kind", [DataKind.WEIGHTS, DataKind.WEIGHT_DIFF])
def test_what_other_sites_send_is_recorded_with_the_rounds_model(site, kind):
    site.begin()
    site.receive("site-2", kind=kind)
    site.receive("site-1", kind=kind)  # its own, which it submits to itself
    assert list_updates(site.records) == [(0, "site-1"), (0, "site-2")]
    assert all(why is None for *_, why in verify(site.records))
    assert strays(site.records) == []
    found = read_record(site.records, 0, "site-2")
    for name, value in UPDATE.items():
        np.testing.assert_array_equal(found.update[name], value)
        np.testing.assert_array_equal(found.global_state[name], MODEL[name])
    site.fire(EventType.END_RUN)
    assert read_manifest(site.records).silence == ""
    assert not site.status


def test_a_script_that_trains_in_the_arrays_it_got_does_not_change_the_record(site):
    model = {name: value.copy() for name, value in MODEL.items()}
    site.begin(model=model)
    model["w"] += 7
    site.receive()
    np.testing.assert_array_equal(read_record(site.records, 0, "site-2").update["w"], UPDATE["w"])


def test_a_site_that_never_aggregated_says_where_the_updates_are(site):
    site.begin()
    site.fire(EventType.END_RUN)
    assert "recorded at the sites that did" in read_manifest(site.records).silence
    assert list_updates(site.records) == []


def test_a_late_update_is_left_out_and_said(site, caplog):
    site.begin(0)
    site.begin(1)
    site.receive("site-2", round=0)
    site.receive("site-3", round=1)
    assert list_updates(site.records) == [(1, "site-3")]
    (left_out,) = read_manifest(site.records).left_out
    assert (left_out.round, left_out.site) == (0, "site-2")
    assert "came in round 1" in left_out.reason
    assert "not recorded" in caplog.text
    assert not site.status


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({"round": 5}, "says round 5"),
        ({"round": None}, "says round None"),
        ({"data": {"w": np.full(4, np.nan, np.float32)}}, "NaN or inf"),
        ({"data": {"other": np.zeros(3, np.float32)}}, "not in the model"),
        ({"peer": "../up"}, "not usable"),
    ],
)
def test_what_cannot_be_recorded_ends_the_job(site, caplog, sent, words):
    site.begin()
    site.receive(**sent)
    assert words in caplog.text
    assert words in site.recorder.failure
    assert [said["error"] for said in site.status] == ["EXECUTION_EXCEPTION"]
    assert list_updates(site.records) == []


def test_without_a_controller_the_job_is_ended_by_a_panic(tmp_path):
    site = Site(tmp_path, controller=False)
    site.receive()
    assert [event for event, _ in site.fired] == [EventType.FATAL_SYSTEM_ERROR]
    assert "that of round None" in site.fired[0][1]


def test_a_site_that_takes_part_in_no_swarm_is_said_when_the_run_starts(tmp_path):
    router = SimpleNamespace(task_table={"train": object()})
    site = Site(tmp_path, runner=SimpleNamespace(task_router=router), controller=False)
    assert "no SwarmClientController of NVFlare runs" in site.fired[0][1]
    assert not site.records.exists()


def test_a_model_that_is_fetched_elsewhere_matters_only_where_it_is_needed(site, caplog):
    site.begin(model={"w": object()})
    assert not site.status
    site.receive()
    assert "which a record does not hold" in caplog.text
    assert site.status


def test_settings_are_those_of_the_servers_recorder(tmp_path):
    site = Site(tmp_path / "a", sites=["site-3"], model_path="torch.nn.Identity")
    site.begin()
    site.receive("site-2")
    site.receive("site-3")
    assert list_updates(site.records) == [(0, "site-3")]
    assert [x.reason for x in read_manifest(site.records).left_out] == ["sites"]
    model = read_manifest(site.records).model
    assert model is not None
    assert model.path == "torch.nn.Identity"
    with pytest.raises(ValueError, match="every_n_rounds"):
        Site(tmp_path / "b", every_n_rounds=0)
