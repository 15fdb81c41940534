"""Tests of medleak.filters.sentinel.rehearsal: limits, and that no answer is no all-clear."""

import math
import os

import numpy as np
import pytest

from medleak.filters.sentinel.rehearsal import Limits, judge, rehearse
from medleak.filters.update import UpdateError

FINE = {"images": 8, "layers": 2, "given_away": 0, "dominance": 0.3, "class_loss": 1.2}
STATE = {"fc.weight": np.ones((2, 3), np.float32)}
FUNCTIONS = """
import time

def answer(state, answer):
    assert state["fc.weight"].shape == (2, 3)
    return answer

def slow(state):
    time.sleep(60)

def broken(state):
    raise RuntimeError("no such list")
"""


@pytest.fixture(autouse=True)
def functions(tmp_path, monkeypatch):
    (tmp_path / "rehearsals_of_this_test.py").write_text(FUNCTIONS)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")


def ask(name, time_limit=50.0, **args):
    named = f"rehearsals_of_this_test:{name}"
    return rehearse(named, STATE, args, time_limit=time_limit, allowed=[named])


def statuses(limits=None, **found):
    results = judge({**FINE, **found}, Limits() if limits is None else limits)
    return {r.check: r.status for r in results}


def test_a_step_that_tells_of_nobody_is_fine():
    assert set(statuses().values()) == {"fine"}


@pytest.mark.parametrize(
    ("check", "found"),
    [
        ("given_away", {"given_away": 1}),
        ("dominance", {"dominance": 10.1}),
        ("dominance", {"dominance": math.nan}),
        ("class_loss", {"class_loss": 20.1}),
        ("class_loss", {"class_loss": 1e300}),
    ],
)
def test_each_limit_is_kept(check, found):
    seen = statuses(**found)
    assert [c for c, s in seen.items() if s == "odd"] == [check]


def test_a_site_may_allow_a_share_to_be_given_away():
    assert statuses(Limits(given_away=0.25), given_away=2)["given_away"] == "fine"
    assert statuses(Limits(given_away=0.25), given_away=3)["given_away"] == "odd"


def test_what_was_given_away_counts_whatever_is_said_of_layers():
    assert statuses(layers=0, given_away=1)["given_away"] == "odd"


def test_a_network_without_a_layer_to_read_has_nothing_there_which_is_not_fine():
    assert statuses(layers=0)["given_away"] == "nothing there"


@pytest.mark.parametrize(
    "bad",
    [{"given_away": -0.1}, {"given_away": 1.0}, {"dominance": 0}, {"class_loss": math.inf}],
)
def test_what_is_no_limit_is_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Limits(**bad)


def test_the_model_is_rehearsed_in_a_process_of_its_own():
    assert ask("answer", answer=FINE) == FINE


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("slow", {"time_limit": 1.0}, "did not end in 1 s"),
        ("broken", {}, r"failed \(RuntimeError: no such list\)"),
        ("answer", {"answer": None}, "it must give"),
        ("answer", {"answer": {**FINE, "layers": None}}, "it must give"),
        ("answer", {"answer": {**FINE, "given_away": True}}, "it must give"),
        ("answer", {"answer": {**FINE, "given_away": -1}}, "none of them below 0"),
        ("answer", {"answer": {**FINE, "layers": math.nan}}, "as whole numbers"),
        ("answer", {"answer": {**FINE, "images": math.inf, "given_away": 5}}, "as whole numbers"),
        ("answer", {"answer": {**FINE, "class_loss": -3.0}}, "none of them below 0"),
        ("answer", {"answer": {**FINE, "images": 1}}, "less than two images"),
    ],
)
def test_what_rehearsed_nothing_is_an_error(name, args, message):
    with pytest.raises(UpdateError, match=message):
        ask(name, **args)


def test_a_rehearsal_that_nobody_here_named_is_not_imported():
    with pytest.raises(UpdateError, match="was not imported"):
        rehearse("rehearsals_of_this_test:answer", STATE, {}, time_limit=9)
