"""Tests of medleak.filters.adapters.attendance: a filter that is never called says so."""

from types import SimpleNamespace

import numpy as np
import pytest
from nvflare.apis.event_type import EventType
from nvflare.apis.filter import ContentBlockedException
from nvflare.apis.fl_constant import FLContextKey, ReturnCode
from nvflare.apis.shareable import make_reply
from nvflare.app_common.ccwf.swarm_client_ctl import SwarmClientController
from nvflare.app_common.executors.client_api_executor import ClientAPIExecutor
from nvflare.app_opt.flower.executor import FlowerExecutor

from medleak.filters.adapters import GlobalModel, PercentileGaussian, Withhold
from medleak.filters.adapters.attendance import unprotected

STATE = {"w": np.ones(4, np.float32)}


class Theirs(FlowerExecutor):
    """A job's own executor over Flower's."""


def client_api(kind):
    return ClientAPIExecutor(
        execution_mode="in_process", task_script_path="client.py", params_transfer_type=kind
    )


def serving(ctx, table):
    """``ctx`` of a job whose executors are ``table``."""
    runner = SimpleNamespace(task_router=SimpleNamespace(task_table=table))
    ctx.set_prop(FLContextKey.RUNNER, runner, private=True, sticky=False)
    return ctx


def run_of(site, names, results, run_dir):
    """The log of a filter for train in a run with tasks ``names``, of which ``results`` answer."""
    filter_ = PercentileGaussian(sigma0=1)
    for name in names:
        ctx, _ = site.task(STATE, name=name)
        ctx.get_engine().get_workspace().get_run_dir = lambda job: str(run_dir)
        filter_.handle_event(EventType.AFTER_TASK_DATA_FILTER, ctx)
        if name in results:
            filter_.process(make_reply(ReturnCode.EXECUTION_EXCEPTION), ctx)
    ctx, _ = site.task(STATE)
    ctx.get_engine().get_workspace().get_run_dir = lambda job: str(run_dir)
    filter_.handle_event(EventType.END_RUN, ctx)


def test_a_run_whose_results_never_came_by_is_said_to_be_unprotected(site, tmp_path, caplog):
    run_of(site, ["config", "start"], [], tmp_path)
    (record,) = [r for r in caplog.records if "protected nothing" in r.getMessage()]
    assert record.levelname == "ERROR"
    assert "no result of the task train came by" in record.getMessage()
    assert "config, start" in record.getMessage()


def test_a_site_that_was_never_asked_is_warned_of_only(site, tmp_path, caplog):
    run_of(site, [], [], tmp_path)
    (record,) = [r for r in caplog.records if "protected nothing" in r.getMessage()]
    assert record.levelname == "WARNING"


def test_a_run_with_a_result_ends_without_a_word(site, tmp_path, caplog):
    run_of(site, ["train"], ["train"], tmp_path)
    assert "protected nothing" not in caplog.text


def test_a_result_that_came_by_in_another_process_of_the_run_counts(site, tmp_path, caplog):
    run_of(site, ["train"], ["train"], tmp_path)
    run_of(site, [], [], tmp_path)  # the simulator ends a run in a process of its own
    assert "protected nothing" not in caplog.text


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (FlowerExecutor, "FlowerExecutor: .*medleak.custom.flower"),
        (Theirs, "Theirs: Flower"),
        (lambda: object.__new__(SwarmClientController), "SwarmClientController: a swarm"),
    ],
)
def test_what_could_not_be_protected_is_known_before_training(site, make, words, caplog):
    ctx = serving(site.task(STATE)[0], {"*": make()})
    PercentileGaussian(sigma0=1).handle_event(EventType.START_RUN, ctx)
    assert ctx.is_job_unsafe()
    assert "no task is run here" in caplog.text
    with pytest.raises(ContentBlockedException, match=words):
        GlobalModel().process(site.task(STATE)[1], ctx)


@pytest.mark.parametrize(
    ("filter_", "waits"),
    [
        (Withhold(), True),
        (Withhold(keep=False), False),
        (PercentileGaussian(sigma0=1, buffers="drop"), False),
    ],
)
def test_whole_weights_that_would_hold_the_sites_own_are_refused_before_training(
    site, filter_, waits
):
    ctx = serving(site.task(STATE)[0], {"train": client_api("FULL")})
    filter_.handle_event(EventType.START_RUN, ctx)
    assert ctx.is_job_unsafe() is waits


def test_differences_and_executors_of_other_tasks_may_run(site, caplog):
    table = {"train": client_api("DIFF"), "validate": client_api("FULL")}
    ctx = serving(site.task(STATE)[0], table)
    filter_ = Withhold()
    filter_.handle_event(EventType.START_RUN, ctx)
    assert not ctx.is_job_unsafe()
    assert GlobalModel().process(site.task(STATE)[1], ctx)
    assert caplog.text == ""


def test_after_a_refusal_the_end_of_the_run_is_no_news(site, caplog):
    ctx = serving(site.task(STATE)[0], {"train": client_api("FULL")})
    filter_ = Withhold()
    for event in (EventType.START_RUN, EventType.END_RUN):
        filter_.handle_event(event, ctx)
    assert "protected nothing" not in caplog.text


def test_of_a_job_that_cannot_be_seen_nothing_is_said(site):
    assert unprotected(site.task(STATE)[0], ["train"]) == ""
