"""Tests of medleak.inversion.audit.workers.pool: many tasks, by one process or by a crew.

What a crew promises is asked of both: of processes of this machine, and of a cluster's.
"""

import functools
import os
import signal
import time
from pathlib import Path

import pytest

from medleak.inversion.audit.workers.pool import Done, at_once, by_crew, one_by_one
from medleak.inversion.reconstruction import Progress

# New processes import torch, which a busy machine does slowly.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def make(number, marks=Path()):
    """A worker that does what its task, a word, says; a process leaves a mark in ``marks``."""

    def work(task, on_progress):
        if task == "wait":
            time.sleep(1.5)
        if task == "refuse":
            raise ValueError("two\nlines")
        if task == "crash":
            raise RuntimeError("out of memory")
        if task == "defect":
            raise TypeError("no such thing")
        if task == "die" or (task == "die once" and not (marks / "died").exists()):
            (marks / "died").touch()
            with (marks / "deaths").open("a") as file:
                file.write(f"{task}\n")
            os.kill(os.getpid(), signal.SIGKILL)
        if on_progress is not None:
            on_progress(Progress(iteration=1, total=2, loss=0.5, seconds=0.1))
        return f"{task} done"

    return work


def make_nothing(number):
    raise ValueError("there is no prior")


def test_one_by_one_keeps_the_order_and_goes_on_after_a_refusal():
    told = []
    watch = lambda task: lambda state: told.append((task, state.loss))  # noqa: E731
    assert list(one_by_one(["a", "refuse", "crash", "b"], make, watch=watch)) == [
        Done("a", "a done"),
        Done("refuse", refused="two lines"),
        Done("crash", refused="out of memory", crashed=True),
        Done("b", "b done"),
    ]
    assert told == [("a", 0.5), ("b", 0.5)]


@pytest.fixture(params=["processes", "cluster"])
def at_work(request):
    """``at_work(tasks, make, size, watch)``, by each kind of crew."""
    if request.param == "processes":
        return at_once
    cluster = request.getfixturevalue("cluster")
    return lambda tasks, make, size, watch=None: by_crew(
        tasks, cluster.crew(make), size, watch=watch
    )


def test_every_task_of_a_crew_ends_once_whatever_happens_to_the_others(at_work, tmp_path):
    told = []
    watch = lambda task: lambda state: told.append((task, state.loss))  # noqa: E731
    tasks = ["a", "refuse", "die", "crash", "die once", "b", "c", "wait"]
    made = functools.partial(make_that_tells_late, marks=tmp_path)
    found = {done.task: done for done in at_work(tasks, made, 2, watch=watch)}
    assert sorted(found) == sorted(tasks)
    done = ["a", "b", "c", "wait", "die once"]
    assert [found[t].result for t in done] == [f"{t} done" for t in done]
    assert found["refuse"] == Done("refuse", refused="two lines")
    assert found["crash"] == Done("crash", refused="out of memory", crashed=True)
    assert found["die"].crashed
    assert "died, and so did a second one" in str(found["die"].refused)
    assert (tmp_path / "deaths").read_text().splitlines().count("die") == 2
    assert ("wait", 0.5) in told


def make_that_tells_late(number, marks):
    """As `make`; the task ``wait`` tells of its progress first, and then takes its time."""
    work = make(number, Path(marks))

    def late(task, on_progress):
        if task == "wait":
            on_progress(Progress(iteration=1, total=2, loss=0.5, seconds=0.1))
        return work(task, on_progress)

    return late


class Gate:
    """Letters of a word in their order: each waits for the one before; a "-" ends its word."""

    def __init__(self):
        self.done = []

    def ready(self, task):
        word, k = task
        return k == 0 or bool(self.why(task)) or (word, k - 1) in self.done

    def why(self, task):
        word, k = task
        return "ended" if "-" in word[:k] else ""


def letters(number):
    def work(task, on_progress):
        word, k = task
        return word[k]

    return work


@pytest.mark.parametrize("jobs", [0, 1, 3])
def test_a_gate_leaves_out_and_holds_back(jobs):
    words = ["ab", "c-de", "fgh", "-x"]
    tasks = [(word, k) for k in range(4) for word in words if k < len(word)]
    gate, seen = Gate(), []
    many = (
        at_once(tasks, letters, jobs, gate=gate) if jobs else one_by_one(tasks, letters, gate=gate)
    )
    for end in many:
        assert gate.ready(end.task)
        gate.done.append(end.task)
        seen.append(end.result)
    assert sorted(seen) == sorted("abc-fgh-")


def test_a_process_that_died_says_of_what(tmp_path):
    made = functools.partial(make, marks=tmp_path)
    (done,) = at_once(["die"], made, 1)
    assert done.crashed
    assert "signal 9; memory may be short: choose fewer --jobs" in str(done.refused)
    assert str(done.refused).endswith("Run the same command again.")


def test_a_defect_ends_it_all_with_its_name(at_work):
    tasks = at_work(["defect"], make, 2)
    with pytest.raises(RuntimeError, match="TypeError: no such thing"):
        next(tasks)


def test_no_process_stays_after_a_defect(others):
    with pytest.raises(RuntimeError, match="TypeError: no such thing"):
        next(at_once(["defect"], make, 2))
    assert _children() <= others


def test_a_worker_that_cannot_be_made_refuses_the_tasks_by_name(at_work):
    assert list(at_work(["a"], make_nothing, 2)) == [Done("a", refused="there is no prior")]


def test_closing_ends_the_processes(others):
    tasks = at_once(["a", "b", "c"], make, 2)
    next(tasks)
    assert _children() > others
    tasks.close()
    assert _children() <= others


def test_an_interrupt_of_the_parent_ends_the_processes(others):
    def interrupt(task):
        if task == "b":
            raise KeyboardInterrupt
        return lambda state: None

    with pytest.raises(KeyboardInterrupt):
        list(at_once(["a", "b", "c"], make, 1, watch=interrupt))
    assert _children() <= others


@pytest.fixture
def others():
    """Processes that earlier tests left, a browser's driver among them."""
    return _children()


def _children() -> set[int]:
    """Processes of this one that are alive, but for multiprocessing's resource tracker."""
    time.sleep(0.05)
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8") as stat:
                state, parent = stat.read().rpartition(")")[2].split()[:2]
            with open(f"/proc/{name}/cmdline", "rb") as command:
                tracker = b"resource_tracker" in command.read()
        except OSError:
            continue
        if int(parent) == os.getpid() and state != "Z" and not tracker:
            found.append(int(name))
    return set(found)
