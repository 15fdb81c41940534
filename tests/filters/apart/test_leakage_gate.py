"""Tests of the leakage gate's process: what it answers, and that every failure is an error."""

import math
import os

import numpy as np
import pytest

from medleak.filters.apart.leakage_gate import Leakage, check_leakage, measure_leakage
from medleak.filters.update import UpdateError

STATE = {"fc.weight": np.zeros(4, np.float32)}
UPDATE = {"fc.weight": np.arange(4, dtype=np.float32)}
MEASURES = """
import time

def total(update, global_state, factor=1.0):
    value = float(update["fc.weight"].sum() + global_state["fc.weight"].sum())
    return {"rdlv": factor * value, "healthy": True, "images": 3}

def slow(update, global_state):
    time.sleep(60)

def broken(update, global_state):
    raise RuntimeError("no such image")

def odd(update, global_state, answer):
    return answer
"""


@pytest.fixture
def measures(tmp_path, monkeypatch):
    """A module that the child process can import."""
    (tmp_path / "gate_measures.py").write_text(MEASURES)

    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")


def ask(name, *, time_limit=50.0, **args):
    named = f"gate_measures:{name}"
    limits = {"time_limit": time_limit, "allowed": [named]}
    return measure_leakage(named, UPDATE, STATE, args, **limits)


@pytest.mark.parametrize(
    "name", ["os:system", "gate_measures:total", "medleak.inversion.gate:load_truth", ":", ""]
)
def test_a_measure_that_nobody_here_named_is_not_imported(name, measures):
    with pytest.raises(UpdateError, match="was not imported"):
        measure_leakage(name, UPDATE, STATE, {}, time_limit=9)


def test_a_measure_gets_copies_of_update_and_model_and_its_arguments(measures):
    found = ask("total", factor=0.5)
    assert found == Leakage(rdlv=3.0, healthy=True, details={"images": 3})


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("slow", {"time_limit": 1.0}, "did not end in 1 s"),
        ("broken", {}, r"failed \(RuntimeError: no such image\)"),
        ("missing", {}, "failed"),
        ("odd", {"answer": None}, "answered None"),
        ("odd", {"answer": {"rdlv": 0.1}}, "it must give rdlv"),
        ("odd", {"answer": {"rdlv": "low", "healthy": True}}, "it must give rdlv"),
        ("odd", {"answer": {"rdlv": 0.1, "healthy": 1}}, "it must give rdlv"),
        ("odd", {"answer": {"rdlv": math.nan, "healthy": True}}, "it must give rdlv"),
    ],
)
def test_what_measures_nothing_is_an_error_and_never_a_low_value(measures, name, settings, message):
    with pytest.raises(UpdateError, match=message):
        ask(name, **settings)


@pytest.mark.parametrize(("rdlv", "passes"), [(-0.2, True), (0.1, True), (0.100001, False)])
def test_the_threshold_itself_still_passes(rdlv, passes):
    found = Leakage(rdlv=rdlv, healthy=True, details={})
    if passes:
        check_leakage(found, 0.1)
    else:
        with pytest.raises(UpdateError, match=r"better than the threshold of 0\.1"):
            check_leakage(found, 0.1)


@pytest.mark.parametrize(
    "found",
    [
        Leakage(rdlv=-1.0, healthy=False, details={}),
        Leakage(rdlv=math.nan, healthy=True, details={}),
    ],
)
def test_an_attack_that_failed_or_found_no_number_proves_nothing(found):
    with pytest.raises(UpdateError):
        check_leakage(found, 0.1)
