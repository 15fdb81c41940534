"""Tests of medleak.filters.apart.process: what runs, for how long, and what an error says."""

import os
import time

import numpy as np
import pytest

from medleak.filters.apart.process import Named, answer_of, check_name
from medleak.filters.update import UpdateError

FUNCTIONS = """
import os, sys, time

def told(first, second, **args):
    return [sorted(first), float(second["b"].sum()), args, os.getpid()]

def slow():
    time.sleep(60)

def silent():
    sys.exit(3)

def gone():
    os._exit(0)

def unfit():
    return {1, 2}
"""
NAMED = Named(it="The trial", names="The trial's function", quicker="try less")


@pytest.fixture(autouse=True)
def functions(tmp_path, monkeypatch):
    (tmp_path / "functions_of_this_test.py").write_text(FUNCTIONS)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")


def ask(name, *arrays, time_limit=50.0, **args):
    measure = f"functions_of_this_test:{name}"
    limits = {"time_limit": time_limit, "allowed": [measure], "named": NAMED}
    return answer_of(measure, arrays, args, **limits)


def test_arrays_and_arguments_arrive_in_another_process():
    first, second = {"a": np.zeros(2)}, {"b": np.arange(4, dtype=np.float32)}
    found = ask("told", first, second, k=[1, 2])
    assert isinstance(found, list)
    assert found[:3] == [["a"], 6.0, {"k": [1, 2]}]
    assert found[3] != os.getpid()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", r"The trial failed \(.*has no attribute 'missing'\)"),
        ("silent", r"The trial failed \(no message\)"),
        ("gone", r"The trial ended and gave no answer"),
        ("unfit", r"The trial failed \(.*not JSON serializable\)"),
    ],
)
def test_what_gives_no_answer_is_an_error(name, message):
    with pytest.raises(UpdateError, match=message):
        ask(name)


def test_what_does_not_end_is_stopped():
    begun = time.monotonic()
    with pytest.raises(UpdateError, match=r"The trial did not end in 1 s.*or try less"):
        ask("slow", time_limit=1.0)
    assert time.monotonic() - begun < 50


def test_nothing_is_left_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    before = set(tmp_path.iterdir())
    ask("told", {"a": np.zeros(2)}, {"b": np.zeros(1)})
    with pytest.raises(UpdateError):
        ask("missing")
    assert set(tmp_path.iterdir()) - before <= {tmp_path / "__pycache__"}


def test_what_is_not_allowed_is_not_imported():
    with pytest.raises(UpdateError, match=r"The trial's function 'os:system' .*not imported"):
        answer_of("os:system", [], {}, time_limit=9, allowed=["a:b"], named=NAMED)


@pytest.mark.parametrize("name", ["", ":", "module", "module:", ":function", None, 3])
def test_a_name_is_a_module_and_a_function(name):
    with pytest.raises(ValueError, match="must be 'module:function'"):
        check_name(name)
