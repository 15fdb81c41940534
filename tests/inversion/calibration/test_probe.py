"""Tests of medleak.inversion.calibration.probe: intervals, and the excess over noise alone."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from medleak.inversion.calibration.probe import excess95, upper95


def test_one_patient_is_judged_over_runs_several_over_patients():
    runs = [("p", seed, v) for seed, v in enumerate((0.1, 0.2, 0.6))]
    mean, upper, over = upper95(runs)
    expected = stats.t.interval(0.95, 2, loc=0.3, scale=stats.sem([0.1, 0.2, 0.6]))[1]
    assert (mean, upper, over) == (pytest.approx(0.3), pytest.approx(expected), "runs")
    two = [(p, seed, v) for p, v in (("p", 0.1), ("q", 0.3)) for seed in (0, 1)]
    assert upper95(two)[2] == "patients"
    half = stats.t.ppf(0.975, 1) * math.sqrt(0.02) / math.sqrt(2)
    assert upper95(two)[1] == pytest.approx(0.2 + half)
    with pytest.raises(ValueError, match="no interval"):
        upper95([("p", 0, 0.1)])


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=9))
def test_the_bound_is_above_every_run_of_three_or_fewer_and_above_the_mean(values):
    mean, upper, _ = upper95([("p", k, v) for k, v in enumerate(values)])
    assert upper >= mean - 1e-9
    if len(values) <= 3:
        assert upper >= max(values) - 1e-9


def test_the_excess_is_that_of_pairs_and_who_has_no_pair_got_the_prior():
    values = [("p", seed, v) for seed, v in enumerate((0.1, 0.3, 0.2))]
    alone = [("p", seed, v - 0.2) for _, seed, v in values]
    assert excess95(values, alone) == pytest.approx(0.2)  # each run has 0.2 more, exactly
    assert excess95(values, []) == pytest.approx(upper95(values)[1])
    two = [(p, seed, v) for p, v in (("p", 0.1), ("q", 0.3)) for seed in (0, 1)]
    half = stats.t.ppf(0.975, 1) * math.sqrt(0.02) / math.sqrt(2)
    assert excess95(two, [("p", 0, 0.0), ("q", 1, 0.0)]) == pytest.approx(0.2 + half)


def test_the_bound_covers_the_excess_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        both = rng.normal(0, 0.3, 5)  # what a patient's image adds to either
        pairs = [(k, 0, both[k] + 0.1 + rng.normal(0, 0.05)) for k in range(5)]
        alone = [(k, 0, both[k] + rng.normal(0, 0.05)) for k in range(5)]
        covered += excess95(pairs, alone) >= 0.1
    assert covered / 400 >= 0.95
