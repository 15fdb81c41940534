"""Tests of medleak.filters.adapters.incoming.minimum_batch."""

from types import SimpleNamespace
from typing import Any

import pytest
from nvflare.apis.filter import ContentBlockedException
from nvflare.apis.fl_constant import FLContextKey
from nvflare.app_common.executors.client_api_executor import ClientAPIExecutor
from tests.filters.conftest import global_state, update
from tests.filters.sites import site

from medleak.filters.adapters import GlobalModel, MinimumBatch, PlannedBatch
from medleak.filters.adapters.incoming.minimum_batch import check_schedule

__all__ = ["global_state", "site", "update"]


def sent(site, global_state, update, **meta):
    chain = MinimumBatch(step=4, round=16)
    return site.send(chain, site.result(update, **meta), global_state)


@pytest.mark.parametrize(
    ("images", "batch", "fits"),
    [(16, 4, True), (15, 5, False), (16, 3, False), (17, 8, False), (20, 8, True), (64, 64, True)],
)
def test_the_smallest_step_and_the_round_count(images, batch, fits):
    schedule = {"n_images": images, "batch_size": batch}
    if fits:
        check_schedule(schedule, 4, 16)
    else:
        with pytest.raises(ValueError, match="this site's minimum is"):
            check_schedule(schedule, 4, 16)


@pytest.mark.parametrize(
    "schedule",
    [
        None,
        {},
        {"n_images": 16},
        {"n_images": True, "batch_size": 4},
        {"n_images": 0, "batch_size": 4},
    ],
)
def test_a_schedule_that_is_not_told_is_refused(schedule):
    with pytest.raises(ValueError, match="does not say on how many images"):
        check_schedule(schedule, 1, 1)


def test_an_update_of_few_images_stays_at_home(site, global_state, update):
    left = sent(site, global_state, update, hp={"n_images": 16, "batch_size": 8})
    assert set(left.data) == set(update)
    with pytest.raises(ContentBlockedException, match="withheld the update: The round had 8"):
        sent(site, global_state, update, hp={"n_images": 8, "batch_size": 8})
    with pytest.raises(ContentBlockedException, match="does not say"):
        sent(site, global_state, update)


@pytest.mark.parametrize(
    ("arguments", "fits"),
    [
        ("--batch_size 1 --lr 0.1", False),
        ("--batch_size=3", False),
        ("--batch_size 4", True),
        ("--batch_size 64 --batch_size 1", False),  # argparse takes the last
        ("--ba 1", False),  # and abbreviations
        ("--batch-size 1", False),
        ("--model_args 'a --batch_size 1 b'", False),  # NVFlare splits at spaces
        ("--table site-1:1:8:8,other:64:8:8", False),
        ("--table site-1:64:8:8,other:1:8:8", True),
        ("--table site-1:1:8:8 --batch_size 64", True),
        ("--lr 0.1", True),  # its schedule decides when the update is there
        (None, True),
    ],
)
def test_a_job_of_small_steps_is_refused_before_training(arguments, fits, site, global_state):
    ctx, data = site.task(global_state)
    of_nvflare = ClientAPIExecutor(
        execution_mode="in_process", task_script_path="client.py", task_script_args=arguments or ""
    )
    for name, executor in (
        ("train", SimpleNamespace(task_script_args=arguments)),
        ("train", of_nvflare),
        ("*", of_nvflare),  # as recipes of NVFlare write it
    ):
        runner = SimpleNamespace(task_router=SimpleNamespace(task_table={name: executor}))
        ctx.set_prop(FLContextKey.RUNNER, runner, private=True, sticky=False)
        GlobalModel().process(data, ctx)
        if fits:
            assert PlannedBatch(step=4).process(data, ctx) is data
        else:
            with pytest.raises(
                ContentBlockedException, match="refused the task: The job trains on"
            ):
                PlannedBatch(step=4).process(data, ctx)


def test_a_batch_size_that_cannot_be_read_is_refused(site, global_state):
    ctx, data = site.task(global_state)
    for arguments in ("--batch_size", "--batch_size many", "--batch_size '1"):
        executor = SimpleNamespace(task_script_args=arguments)
        runner = SimpleNamespace(task_router=SimpleNamespace(task_table={"train": executor}))
        ctx.set_prop(FLContextKey.RUNNER, runner, private=True, sticky=False)
        with pytest.raises(ContentBlockedException, match="PlannedBatch refused the task"):
            PlannedBatch(step=4).process(data, ctx)


def test_minima_that_mean_nothing_are_refused():
    wrong: list[dict[str, Any]] = [{"step": 0}, {"round": 0}, {"step": 1.5}]
    for arguments in wrong:
        with pytest.raises(ValueError, match="whole number"):
            MinimumBatch(**arguments)


def test_a_job_that_cannot_be_seen_is_refused(site, global_state):
    ctx, data = site.task(global_state)
    with pytest.raises(ContentBlockedException, match="cannot be seen"):
        PlannedBatch().process(data, ctx)
    with pytest.raises(ValueError, match="whole number"):
        PlannedBatch(step=0)
