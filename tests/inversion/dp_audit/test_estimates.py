import numpy as np
import pytest
from dp_accounting import get_epsilon_gaussian
from scipy.stats import binom

from medleak.inversion.dp_audit.estimates import (
    clopper_pearson,
    epsilon_of_mu,
    gaussian,
    one_run,
    one_run_gaussian,
    threshold_of,
    upper,
)

DELTA = 1e-5


def gaussians(mu, n, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(mu, 1, n), rng.normal(0, 1, n)


def test_epsilon_of_a_gaussian_is_that_of_dp_accounting():
    for mu in (0.3, 1, 2, 5):
        assert epsilon_of_mu(mu, DELTA) == pytest.approx(get_epsilon_gaussian(1 / mu, DELTA))
    assert epsilon_of_mu(0.001, 0.5) == 0


def test_the_upper_bound_is_clopper_and_pearsons():
    p = upper(3, 50, 0.05)
    assert binom.cdf(3, 50, p) == pytest.approx(0.05)
    assert upper(50, 50, 0.05) == 1


def test_of_ten_thousand_releases_half_of_epsilon_and_more_is_seen():
    for mu in (0.5, 1.0, 2.0):
        first, second = gaussians(mu, 10_000, seed=0)
        cut = threshold_of(first[:2500], second[:2500])
        seen = gaussian(first[2500:], second[2500:], cut, delta=DELTA)
        assert epsilon_of_mu(mu, DELTA) / 2 < seen <= epsilon_of_mu(mu, DELTA)


@pytest.mark.parametrize("bound", [clopper_pearson, gaussian])
def test_the_bound_is_above_the_true_epsilon_no_more_often_than_it_says(bound):
    over = 0
    for seed in range(300):
        first, second = gaussians(1.0, 400, seed)
        cut = threshold_of(first[:100], second[:100])
        over += bound(first[100:], second[100:], cut, delta=DELTA) > epsilon_of_mu(1.0, DELTA)
    assert over <= 27  # 300 x 0.05, and 3.2 standard deviations


def test_clopper_pearson_by_hand():
    first, second = np.ones(100), np.zeros(100)
    rate = upper(0, 100, 0.025)
    assert clopper_pearson(first, second, 0.5, delta=0.0) == pytest.approx(
        np.log((1 - rate) / rate)
    )
    assert clopper_pearson(second, first, 0.5, delta=0.0) == 0


def guessed(mu, canaries, guesses, seed):
    rng = np.random.default_rng(seed)
    inside = rng.random(canaries) < 0.5
    order = np.argsort(inside * mu + rng.normal(size=canaries))
    half = guesses // 2
    return int(inside[order[-half:]].sum() + (~inside[order[:half]]).sum())


def test_one_run_of_pure_privacy_is_a_binomial_tail():
    # Randomised response of epsilon answers rightly with probability e^eps / (1 + e^eps).
    bound = one_run(1000, 1000, 900, delta=0.0)
    q = 1 / (1 + np.exp(-bound))
    assert binom.sf(899, 1000, q) == pytest.approx(0.05, rel=0.02)
    assert one_run(1000, 1000, 500, delta=0.0) == 0
    assert one_run(1000, 1000, 900, delta=1e-4) < bound


@pytest.mark.parametrize("bound", [one_run, one_run_gaussian])
def test_one_run_is_above_the_true_epsilon_no_more_often_than_it_says(bound):
    over = sum(
        bound(600, 100, guessed(1.0, 600, 100, seed), delta=DELTA) > epsilon_of_mu(1.0, DELTA)
        for seed in range(60)
    )
    assert over <= 8  # 60 x 0.05, and 3 standard deviations


def test_the_whole_curve_sees_more_than_one_point_and_less_than_there_is():
    correct = guessed(2.0, 2000, 300, seed=1)
    point, curve = (b(2000, 300, correct, delta=DELTA) for b in (one_run, one_run_gaussian))
    assert point < curve < epsilon_of_mu(2.0, DELTA)
    assert curve > epsilon_of_mu(2.0, DELTA) / 3


def test_impossible_counts_are_refused():
    for counts in ((10, 11, 5), (10, 5, 6), (0, 0, 0)):
        with pytest.raises(ValueError, match="impossible"):
            one_run(*counts, delta=DELTA)
