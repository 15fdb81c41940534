"""Tests of medleak.filters.adapters.incoming.watch: what all filters of incoming models do."""

import numpy as np
import pytest
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.filter import ContentBlockedException

from medleak.filters.adapters.incoming.watch import ON_ALARM, Watch

STATE = {"w": np.ones(4, np.float32)}


class Grumpy(Watch):
    """Finds every model odd."""

    _folder = "grumpy"

    def look(self, came, fl_ctx):
        self.alarm(f"round {came.round} has {sorted(came.state)}", came, fl_ctx)


def grumpy(on_alarm="refuse_round"):
    return Grumpy(on_alarm, "state", ["train"])


@pytest.mark.parametrize("on_alarm", ON_ALARM)
def test_an_alarm_refuses_the_round_the_run_or_nothing(on_alarm, site):
    ctx, task = site.task(STATE)
    if on_alarm == "warn":
        assert grumpy(on_alarm).process(task, ctx) is task
        return
    with pytest.raises(ContentBlockedException, match=r"Grumpy refused the task: round 3 has"):
        grumpy(on_alarm).process(task, ctx)
    again = "refused for good" if on_alarm == "refuse_run" else "round 3 has"
    with pytest.raises(ContentBlockedException, match=again):
        grumpy(on_alarm).process(site.task(STATE)[1], ctx)


def test_what_cannot_be_looked_at_is_refused(site):
    ctx, _ = site.task(STATE)
    for task, words in (
        (DXO(DataKind.WEIGHT_DIFF, data=STATE).to_shareable(), "no whole model"),
        (DXO(DataKind.WEIGHTS, data=STATE).to_shareable(), "says no round"),
    ):
        with pytest.raises(ContentBlockedException, match=words):
            grumpy("warn").process(task, ctx)
    other, task = site.task(STATE, name="validate")
    with pytest.raises(ContentBlockedException, match="The task is 'validate'"):
        grumpy("warn").process(task, other)


@pytest.mark.parametrize(
    ("on_alarm", "tasks"), [("ignore", ["train"]), ("warn", "train"), ("warn", [])]
)
def test_bad_arguments_are_refused(on_alarm, tasks):
    with pytest.raises(ValueError, match=r"on_alarm|tasks"):
        Grumpy(on_alarm, "state", tasks)
