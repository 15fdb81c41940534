import itertools

import numpy as np
import pytest
from scipy import stats

from medleak.inversion.linkage.permutation import (
    DEALS,
    correlation,
    distances,
    least_p,
    p_value,
)


def test_p_counts_the_orders_that_tell_as_much_the_truth_among_them():
    scores = {order: k for k, order in enumerate(itertools.permutations(range(3)))}
    assert p_value(lambda order: -scores[tuple(order)], 3) == pytest.approx(1 / 6)
    assert p_value(lambda order: scores[tuple(order)], 3) == 1
    assert least_p(3) == pytest.approx(1 / 6)


def test_many_sites_are_dealt_out_at_random_and_the_truth_still_counts():
    assert p_value(lambda order: float(list(order) == list(range(9))), 9) == 1 / DEALS
    assert least_p(9) == 1 / DEALS


def test_a_mantel_correlation_is_that_of_the_pairs():
    rng = np.random.default_rng(0)
    first, second = (distances(rng.normal(size=(7, 3))) for _ in range(2))
    above = np.triu_indices(7, 1)
    expected = stats.pearsonr(first[above], second[above])[0]
    assert correlation(first, second) == pytest.approx(expected)
    assert correlation(first, np.ones((7, 7))) == 0


def test_p_is_small_by_chance_as_often_as_it_says():
    rng = np.random.default_rng(1)
    small = 0
    for _ in range(200):
        seen, true = (distances(rng.normal(size=(5, 2))) for _ in range(2))

        def told(order, seen=seen, true=true):
            return correlation(seen, true[np.ix_(list(order), list(order))])

        small += p_value(told, 5) <= 0.05
    assert small <= 20  # 10 expected; 20 would be three standard deviations more
