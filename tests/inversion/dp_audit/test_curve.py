import numpy as np
import pytest
from scipy.stats import norm

from medleak.filters.privacy import accounting
from medleak.inversion.dp_audit.curve import (
    deltas_of,
    inverse_blow_up,
    least_refuting,
    refutes,
    with_scaled_noise,
)
from medleak.inversion.dp_audit.estimates import curve_refuted, one_run_gaussian

GAUSSIAN = accounting.gaussian(1.0)


def test_the_curve_of_a_gaussian_is_the_known_one():
    inverse = inverse_blow_up(deltas_of([GAUSSIAN]))
    for x in (0.01, 0.1, 0.5, 0.9, 0.99):
        assert inverse(x) == pytest.approx(norm.cdf(norm.ppf(x) - 1), rel=2e-3)
    assert inverse(0.0) == 0
    assert inverse(1.0) == pytest.approx(1)


@pytest.mark.parametrize("guesses", [60, 200])
def test_guesses_refute_where_the_exact_curve_does(guesses):
    exact = next(
        c
        for c in range(guesses + 1)
        if curve_refuted(lambda x: float(norm.cdf(norm.ppf(x) - 1)), 200, guesses, c, 0.05)
    )
    assert least_refuting([GAUSSIAN], 200, guesses, 0.95) == exact


def test_more_releases_and_less_noise_allow_more():
    few = least_refuting([GAUSSIAN], 400, 100, 0.95)
    more = least_refuting([GAUSSIAN] * 2, 400, 100, 0.95)
    assert few is not None
    assert more is None or few <= more
    assert least_refuting([accounting.gaussian(0.08)], 400, 100, 0.95) is None


def test_sampling_helps():
    steps = [
        accounting.dp_sgd(noise_multiplier=1.0, sample_rate=r, steps=4).event for r in (0.1, 1)
    ]
    rare, all_ = (deltas_of([event]) for event in steps)
    assert (rare <= all_ + 1e-12).all()
    assert refutes([steps[0]], 400, 100, 90, 0.95)
    assert not refutes([steps[1]], 400, 100, 90, 0.95)
    assert np.isfinite(rare).all()


@pytest.mark.parametrize("right", [380, 460, 495])
def test_a_gaussian_with_scaled_noise_is_bounded_as_by_its_exact_curve(right):
    exact = one_run_gaussian(1000, 500, right, delta=1e-5, confidence=0.95)
    found = with_scaled_noise([GAUSSIAN], 1000, 500, right, 0.95, 1e-5)
    assert found is not None
    assert found <= exact + 0.01
    assert found == pytest.approx(exact, rel=0.08)  # the grid of noise


def test_what_chance_guesses_bounds_no_noise_at_all():
    assert with_scaled_noise([GAUSSIAN], 1000, 500, 250, 0.95, 1e-5) is None


def test_the_bound_of_dp_sgd_lies_above_that_of_any_mechanism_and_below_the_claim():
    """Counts that 10,000 canaries of an honest training give."""
    event = accounting.dp_sgd(noise_multiplier=1.0, sample_rate=0.5, steps=4).event
    found = with_scaled_noise([event], 10_000, 500, 466, 0.975, 1e-5)
    assert found is not None
    assert 2.3 < found < accounting.epsilon([event], 1e-5)
    both = with_scaled_noise([event, event], 10_000, 500, 466, 0.975, 1e-5)
    assert both is not None
    assert both < 1.1 * found
