"""Tests of medleak.inversion.results.comparison."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from scipy.stats import wilcoxon
from tests.inversion.rows import ROW as A_ROW

from medleak.inversion.results.comparison import compare, compare_rows

ROW = dataclasses.replace(A_ROW, site="site-9")


def rows(ssim, **changes):
    return [
        dataclasses.replace(
            ROW, truth_image=f"training[{k}]", patient=k // 2, ssim=value, **changes
        )
        for k, value in enumerate(ssim)
    ]


def test_images_are_paired_whatever_their_order_and_clustered_by_patient():
    found = compare_rows(rows([0.5, 0.6, 0.7, 0.8]), rows([0.4, 0.5, 0.5, 0.6])[::-1])
    assert found.difference == pytest.approx(0.15)
    assert (found.n, found.clusters) == (4, 2)
    # Two patients, with 0.1 and 0.2: Student's t of one degree of freedom has 12.7 for 1.96.
    reach = 0.05 * 2**0.5 * 12.706 / 1.96
    assert (found.lower95, found.upper95) == pytest.approx((0.15 - reach, 0.15 + reach), abs=1e-3)


def test_what_only_one_side_measured_is_left_out():
    found = compare_rows(rows([0.5, 0.6, 0.7]), rows([0.4, None, 0.6]))
    assert found.n == 2


def test_rounds_and_seeds_are_paired_with_themselves():
    first = rows([0.5, 0.5]) + rows([0.9, 0.9], round=1)
    second = rows([0.4, 0.4]) + rows([0.8, 0.8], round=1)
    found = compare_rows(first, second)
    assert (found.difference, found.n) == (pytest.approx(0.1), 4)


@pytest.mark.parametrize(
    ("first", "second", "figure", "message"),
    [
        (rows([0.5]), rows([0.5], seed=1), "ssim", "nothing to compare"),
        (rows([0.5]), rows([0.5]), "nonsense", "nothing to compare"),
        (rows([0.5]), rows([0.5]), "attack", "is a text"),
        (rows([0.5]) * 2, rows([0.5]), "ssim", "stands twice"),
    ],
)
def test_what_cannot_be_compared_is_refused(first, second, figure, message):
    with pytest.raises(ValueError, match=message):
        compare_rows(first, second, figure)


values = np.random.default_rng(1).normal(0.5, 0.2, 40)


def test_a_constant_gain_is_found_whatever_the_images_are():
    better = compare(list(values + 0.01), list(values), range(40))
    assert better.difference == pytest.approx(0.01)
    assert better.lower95 == pytest.approx(0.01)
    assert better.p is not None
    assert better.p < 0.001
    assert (better.n, better.clusters) == (40, 40)


def test_all_signs_are_tried_where_there_are_few_patients():
    found = compare([3.0, 2.0, 1.0], [0.0, 0.0, 0.0], "abc")
    assert found.p == pytest.approx(2 / 8)  # all plus or all minus


def test_p_agrees_with_wilcoxon_where_both_apply():
    rng = np.random.default_rng(3)
    first = values + rng.normal(0.05, 0.15, 40)
    result: Any = wilcoxon(first, values)
    found = compare(list(first), list(values), range(40))
    assert found.p == pytest.approx(result.pvalue, abs=0.05)


def test_a_gain_seen_in_every_run_of_one_patient_proves_nothing():
    found = compare([0.9] * 20, [0.1] * 20, ["a"] * 20)
    assert (found.lower95, found.upper95, found.p) == (None, None, None)
    assert found.difference == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("first", "second", "clusters"),
    [([], [], []), ([1.0], [1.0, 2.0], [1]), ([float("nan")], [1.0], [1])],
)
def test_what_cannot_be_paired_is_refused(first, second, clusters):
    with pytest.raises(ValueError, match=r"paired comparison|undefined"):
        compare(first, second, clusters)
