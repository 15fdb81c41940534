"""Tests of medleak.inversion.audit.pool: many tasks, one process or several."""

import os
import signal
import time

import pytest

from medleak.inversion.audit.pool import Done, at_once, one_by_one
from medleak.inversion.reconstruction import Progress

# New processes import torch, which a busy machine does slowly.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def make(number):
    """A worker that does what its task, a word, says."""

    def work(task, on_progress):
        if task == "refuse":
            raise ValueError("two\nlines")
        if task == "crash":
            raise RuntimeError("out of memory")
        if task == "defect":
            raise TypeError("no such thing")
        if task == "die":
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


def test_at_once_every_task_ends_once_whatever_happens_to_the_others():
    told = []
    watch = lambda task: lambda state: told.append(task)  # noqa: E731
    tasks = ["a", "refuse", "die", "crash", "b", "c"]
    found = {done.task: done for done in at_once(tasks, make, 2, watch=watch)}
    assert list(sorted(found)) == sorted(tasks)
    assert [found[t].result for t in "abc"] == ["a done", "b done", "c done"]
    assert found["refuse"] == Done("refuse", refused="two lines")
    assert found["crash"] == Done("crash", refused="out of memory", crashed=True)
    assert found["die"].crashed
    assert "died (signal 9); memory may be short: choose fewer --jobs" in str(found["die"].refused)
    assert "a" in told


def test_a_defect_ends_it_all_with_its_name_and_no_process_stays(others):
    tasks = at_once(["defect"], make, 2)
    with pytest.raises(RuntimeError, match="TypeError: no such thing"):
        next(tasks)
    assert _children() <= others


def test_a_worker_that_cannot_be_made_refuses_the_tasks_by_name():
    assert list(at_once(["a"], make_nothing, 2)) == [Done("a", refused="there is no prior")]


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
