"""Tests of medleak.custom.data.pixels.pool."""

import threading
import time

import pytest

from medleak.custom.data.data_error import DataError
from medleak.custom.data.pixels.pool import in_order


def test_results_come_in_the_order_of_the_tasks_however_long_each_takes():
    def work(k):
        time.sleep(0.002 * (k % 3))
        return k * k

    assert list(in_order(work, range(30), workers=4)) == [k * k for k in range(30)]


def test_a_data_error_is_a_result_and_any_other_error_is_raised():
    def work(k):
        if k == 1:
            raise DataError("broken")
        if k == 3:
            raise KeyError(k)
        return k

    results = in_order(work, range(5), workers=2)
    first, second, third = next(results), next(results), next(results)
    assert (first, third) == (0, 2)
    assert isinstance(second, DataError)
    with pytest.raises(KeyError):
        next(results)


def test_tasks_are_taken_late_so_that_few_are_in_memory():
    taken = 0

    def tasks():
        nonlocal taken
        for k in range(100):
            taken += 1
            yield k

    results = in_order(lambda k: k, tasks(), workers=2)
    for done in range(1, 50):
        next(results)
        assert taken <= done + 7


def test_several_threads_work_at_once_and_end_with_the_generator():
    before = set(threading.enumerate())
    together = threading.Barrier(2, timeout=10)
    results = in_order(lambda _: together.wait() >= 0, range(2), workers=2)
    assert list(results) == [True, True]
    results = in_order(lambda k: k, range(100), workers=2)
    next(results)
    results.close()
    assert set(threading.enumerate()) <= before
