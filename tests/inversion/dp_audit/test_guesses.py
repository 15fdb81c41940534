import numpy as np
import pytest

from medleak.filters.privacy import accounting
from medleak.inversion.dp_audit.claims import Claim
from medleak.inversion.dp_audit.curve import least_refuting
from medleak.inversion.dp_audit.guesses import best_guesses, sampled

SETTINGS = {"delta": 1e-5, "confidence": 0.975}
EVENT = accounting.dp_sgd(noise_multiplier=1.0, sample_rate=0.5, steps=4).event


def claim_of(*events):
    return Claim(epsilon=accounting.epsilon(events, 1e-5), by="", events=events)


def test_without_a_claim_all_are_guessed():
    assert best_guesses(77, Claim(epsilon=None, by=""), **SETTINGS) == 77


def test_a_claim_that_nothing_contradicts_is_guessed_all_the_same():
    few = claim_of({"event": "Gaussian", "noise_multiplier": 0.6})
    assert 1 <= best_guesses(10, few, **SETTINGS) <= 10
    assert best_guesses(30, claim_of({"event": "Gaussian", "noise_multiplier": 1e-3}), **SETTINGS)


def test_an_event_that_is_no_gaussian_is_compared_with_one():
    laplace = {"event": "Laplace", "noise_multiplier": 0.5}
    assert 1 <= best_guesses(400, claim_of(laplace), **SETTINGS) <= 400


def test_where_a_step_draws_some_so_few_are_guessed_that_half_of_the_noise_is_found():
    """Made-up scores of 10,000 canaries under DP-SGD with half of its noise, and as it is."""
    n = 10_000
    claim = claim_of(EVENT)
    assert sampled(claim)
    number = best_guesses(n, claim, **SETTINGS)
    needed = least_refuting([EVENT], n, number, 0.975)
    assert needed is not None
    rng = np.random.default_rng(0)
    found = {0.5: 0, 1.0: 0}
    for noise in found:
        for _ in range(20):
            planted = rng.random(n) < 0.5
            scores = planted * rng.binomial(4, 0.5, n) + rng.normal(0, 2 * noise, n)
            right = int(planted[np.argsort(scores)[n - number :]].sum())
            found[noise] += right >= needed
    assert found[0.5] >= 16
    assert found[1.0] == 0


@pytest.mark.parametrize("rounds", [1, 3])
def test_rounds_are_counted_together(rounds):
    together = {"event": "SelfComposed", "count": rounds, "inner": EVENT}
    assert best_guesses(2000, claim_of(*[EVENT] * rounds), **SETTINGS) == best_guesses(
        2000, claim_of(together), **SETTINGS
    )
