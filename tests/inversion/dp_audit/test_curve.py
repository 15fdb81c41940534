import numpy as np
import pytest
from scipy.stats import norm

from medleak.filters.privacy import accounting
from medleak.inversion.dp_audit.curve import (
    deltas_of,
    inverse_blow_up,
    least_refuting,
    refutes,
)
from medleak.inversion.dp_audit.estimates import curve_refuted

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
