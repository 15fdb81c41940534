"""Tests of medleak.inversion.results.comparison."""

import dataclasses

import pytest

from medleak.inversion.results.comparison import compare_rows
from medleak.inversion.results.rows import Row

ROW = Row(
    round=0,
    site="site-9",
    attack="dlg",
    defence="none",
    declared="none",
    knowledge="all",
    seed=0,
    reconstruction=0,
    seconds=1.0,
    iterations=1,
    attempts=1,
    stuck=False,
    losses="",
    picture="a.png",
)


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
