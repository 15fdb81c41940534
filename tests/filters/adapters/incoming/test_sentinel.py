"""Tests of medleak.filters.adapters.incoming.sentinel: a trap is not trained."""

import json

import numpy as np
import pytest
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.filter import ContentBlockedException
from tests.filters.sentinel.models import convolutional, linear
from tests.filters.sites import site

from medleak.filters.adapters import GlobalModel, Sentinel, SentinelNotes
from medleak.filters.sentinel.checks.structure import described, fingerprint

__all__ = ["site"]


def honest():
    return {**linear(), **convolutional()}


def trained(state, seed=0):
    rng = np.random.default_rng(seed)
    return {
        n: np.asarray(rng.normal(size=v.shape) * 1e-3, np.float32)
        for n, v in state.items()
        if not n.endswith("tracked")
    } | {"bn.num_batches_tracked": np.array(1)}


def trap(state):
    sent = {n: v.copy() for n, v in state.items()}
    sent["hidden.weight"][:] = sent["hidden.weight"][0]
    return sent


class Rounds:
    """A site that is sent models, one a round, and sends what it made of them."""

    def __init__(self, site, **arguments):
        self.site, self.arguments = site, arguments

    def round(self, state, number, *, send=True, name="train", **task):
        ctx, data = self.site.task(
            state, name=name, round_number=number, task_id=f"t{number}", **task
        )
        Sentinel(**self.arguments).process(data, ctx)
        GlobalModel().process(data, ctx)
        if send:
            update = trained(state, number)
            self.site.through([SentinelNotes()], self.site.result(update), ctx)
            return {n: np.asarray(v + 0.5 * update[n], v.dtype) for n, v in state.items()}
        return state

    @property
    def folder(self):
        return self.site.root / "medleak_state" / "job-1" / "sentinel"

    def seen(self):
        return [json.loads(x) for x in (self.folder / "seen.jsonl").read_text().splitlines()]


def test_honest_rounds_go_through_and_a_trap_does_not(site):
    rounds, state = Rounds(site), honest()
    for number in range(3):
        state = rounds.round(state, number)
    with pytest.raises(ContentBlockedException, match="round 3 looks like a trap: rows: hidden"):
        rounds.round(trap(state), 3)
    state = rounds.round(state, 4)
    assert [x["outcome"] for x in rounds.seen()] == [
        *["let through"] * 3,
        "refuse_round",
        "let through",
    ]
    last = rounds.seen()[-1]["checks"]
    assert {c["status"] for c in last.values()} == {"fine"}


def test_a_run_that_is_refused_stays_refused(site):
    rounds, state = Rounds(site, on_alarm="refuse_run"), honest()
    state = rounds.round(state, 0)
    for number, sent in ((1, trap(state)), (2, state)):
        with pytest.raises(ContentBlockedException, match="looks like a trap"):
            rounds.round(sent, number)
    other = Rounds(site, on_alarm="refuse_run")
    other.round(honest(), 0, job="job-2")


def test_a_warning_lets_it_through_and_says_so(site):
    rounds = Rounds(site, on_alarm="warn")
    rounds.round(trap(honest()), 0)
    assert rounds.seen()[0]["outcome"] == "warn"


def test_only_the_approved_network_is_trained(site):
    state = honest()
    approved = fingerprint(described(state))
    Rounds(site, approved=approved).round(state, 0)
    with pytest.raises(ContentBlockedException, match="the site approved"):
        Rounds(site, approved=approved).round(linear(), 0, job="job-2")


def test_a_new_module_is_refused_though_its_names_are_unknown(site):
    rounds, state = Rounds(site), honest()
    state = rounds.round(state, 0)
    front = {"rows.weight": np.ones((16, 100), np.float32), **state}
    with pytest.raises(ContentBlockedException, match="1 entries are not as in this run's first"):
        rounds.round(front, 1)


def test_without_notes_the_step_is_not_examined(site):
    rounds, state = Rounds(site), honest()
    for number in range(2):
        rounds.round(state, number, send=False)
    assert rounds.seen()[1]["checks"]["step"]["status"] == "not examined"


@pytest.mark.parametrize(
    ("name", "number", "kind"),
    [("validate", 0, DataKind.WEIGHTS), ("train", None, DataKind.WEIGHTS), ("train", 0, "diff")],
)
def test_what_is_no_model_to_be_trained_is_refused(name, number, kind, site):
    ctx, data = site.task(honest(), name=name, round_number=number)
    if kind == "diff":
        data = DXO(DataKind.WEIGHT_DIFF, data=honest()).to_shareable()
        data.set_header("current_round", 0)
    with pytest.raises(ContentBlockedException, match="Sentinel refused the task"):
        Sentinel().process(data, ctx)


def test_a_damaged_memory_stops_the_round(site):
    rounds, state = Rounds(site), honest()
    state = rounds.round(state, 0)
    (rounds.folder / "memory.json").write_text("{")
    with pytest.raises(ContentBlockedException, match="memory cannot be read"):
        rounds.round(state, 1)


@pytest.mark.parametrize(
    "arguments",
    [
        {"on_alarm": "ignore"},
        {"approved": "abc"},
        {"step_limit": 0},
        {"tasks": "train"},
        {"tasks": []},
    ],
)
def test_arguments_that_cannot_be_meant_are_refused(arguments):
    with pytest.raises(ValueError, match="must be"):
        Sentinel(**arguments)


def test_the_update_leaves_as_it_was(site):
    state = honest()
    ctx, data = site.task(state, round_number=0)
    GlobalModel().process(data, ctx)
    update = trained(state)
    left = site.through([SentinelNotes()], site.result(update), ctx)
    assert all(np.array_equal(left.data[n], update[n]) for n in update if "tracked" not in n)
