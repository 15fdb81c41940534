"""Tests of the time that an attack has used, and may use."""

import time

import torch

from medleak.inversion.descent.meter import Stopwatch

CPU = torch.device("cpu")


def test_cpu_time_counts_and_sleep_does_not():
    watch = Stopwatch(CPU)
    time.sleep(0.2)
    slept = watch.seconds
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    assert slept < 0.1
    assert watch.seconds >= slept + 0.09


def test_without_a_budget_it_is_never_over_and_a_used_up_one_is():
    assert not Stopwatch(CPU).over
    assert not Stopwatch(CPU, 100.0).over
    assert Stopwatch(CPU, 0.0).over


def test_work_on_a_gpu_is_timed_by_the_wall():
    watch = Stopwatch(torch.device("cuda"), 0.05)
    time.sleep(0.06)
    assert watch.seconds >= 0.06
    assert watch.over
