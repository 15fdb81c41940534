"""Tests of the leakage gate: medleak.filters.apart.leakage_gate and its filter."""

import os

import numpy as np
import pytest
from nvflare.apis.filter import ContentBlockedException, FilterContextKey, FilterSource

from medleak.filters.adapters import LeakageGate
from medleak.filters.apart.leakage_gate import Leakage, check_leakage, measure_leakage
from medleak.filters.update import UpdateError

MEASURES = """
import time

def answer(update, global_state, **args):
    assert set(update) <= set(global_state)
    return {"rdlv": args["rdlv"], "healthy": args.get("healthy", True), "note": len(update)}

def sleep(update, global_state):
    time.sleep(60)

def fail(update, global_state):
    raise RuntimeError("no images in /data")

def nonsense(update, global_state):
    return {"rdlv": float("nan"), "healthy": True}
"""


@pytest.fixture
def measures(tmp_path, monkeypatch):
    (tmp_path / "measures_of_this_test.py").write_text(MEASURES)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    return "measures_of_this_test"


def gate(measures, name, source=FilterSource.SITE, **args):
    made = LeakageGate(measure=f"{measures}:{name}", **args)
    made.set_prop(FilterContextKey.SOURCE, source)  # as NVFlare does
    return made


@pytest.mark.parametrize("source", [FilterSource.JOB, None])
def test_a_measure_that_a_job_names_is_not_even_imported(
    source, measures, tmp_path, site, update, global_state
):
    module = tmp_path / "measures_of_this_test.py"
    module.write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n{MEASURES}")
    named = gate(measures, "answer", source, measure_args={"rdlv": -1})
    with pytest.raises(ContentBlockedException, match="was not imported"):
        site.send(named, site.result(update), global_state)
    assert not (tmp_path / "ran").exists()


def test_an_update_that_does_not_leak_leaves_unchanged(measures, site, update, global_state):
    harmless = gate(measures, "answer", measure_args={"rdlv": -0.1})
    sent = site.send(harmless, site.result(update), global_state)
    for name, value in sent.data.items():
        np.testing.assert_array_equal(value, update[name])
    declared = {"measure": f"{measures}:answer", "threshold": 0.0}
    assert sent.meta["medleak_defences"] == [{"name": "leakage_gate", "args": declared}]


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("answer", {"measure_args": {"rdlv": 0.5}}, "reconstructs a training image"),
        ("answer", {"measure_args": {"rdlv": -1, "healthy": False}}, "proves nothing"),
        ("sleep", {"time_limit": 1.5}, r"did not end in 1\.5 s"),
        ("fail", {}, "RuntimeError: no images in /data"),
        ("nonsense", {}, "must give rdlv"),
        ("missing", {}, "has no attribute 'missing'"),
    ],
)
def test_everything_else_stays_home(name, args, message, measures, site, update, global_state):
    with pytest.raises(ContentBlockedException, match=message):
        site.send(gate(measures, name, **args), site.result(update), global_state)


def test_the_refusal_does_not_tell_the_value(measures, site, update, global_state):
    leaking = gate(measures, "answer", measure_args={"rdlv": 0.73125})
    with pytest.raises(ContentBlockedException) as refusal:
        site.send(leaking, site.result(update), global_state)
    assert "73125" not in str(refusal.value)


def test_details_are_for_the_site(measures, update, global_state):
    found = measure_leakage(
        f"{measures}:answer",
        update,
        global_state,
        {"rdlv": -0.5},
        time_limit=60,
        allowed=[f"{measures}:answer"],
    )
    assert found == Leakage(rdlv=-0.5, healthy=True, details={"note": len(update)})


def test_a_threshold_is_inclusive_and_nan_never_passes():
    check_leakage(Leakage(rdlv=0.2, healthy=True, details={}), threshold=0.2)
    with pytest.raises(UpdateError):
        check_leakage(Leakage(rdlv=float("nan"), healthy=True, details={}), threshold=0.2)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"measure": "module.function"}, "must be 'module:function'"),
        ({"measure": "m:f", "threshold": 99}, "threshold is an RDLV"),
        ({"measure": "m:f", "time_limit": 0}, "time_limit"),
    ],
)
def test_settings_that_cannot_gate_are_refused(args, message):
    with pytest.raises(ValueError, match=message):
        LeakageGate(**args)
