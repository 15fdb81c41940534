"""Guesses and their bound; the whole way is in tests/inversion/privacy/test_planted_canaries.py."""

import numpy as np
import pytest

from medleak.filters.privacy import accounting
from medleak.inversion.dp_audit.claims import Claim
from medleak.inversion.dp_audit.curve import least_refuting
from medleak.inversion.dp_audit.estimates import epsilon_of_mu
from medleak.inversion.dp_audit.guesses import best_guesses
from medleak.inversion.dp_audit.planted import Examiner, guessed

SETTINGS = {"delta": 1e-5, "confidence": 0.95}
CLAIM = Claim(epsilon=4.0, by="the site's ledger")


def test_the_highest_are_guessed_in_and_the_lowest_out():
    planted = np.array([True] * 6 + [False] * 6)
    found = guessed(np.arange(12.0)[::-1], planted, CLAIM, Examiner(guesses=4))
    assert (found.planted, found.guessed, found.right) == (12, 4, 4)
    turned = guessed(np.arange(12.0), planted, CLAIM, Examiner(guesses=5))
    assert (turned.guessed, turned.right) == (5, 0)


def test_equal_scores_tell_nothing():
    planted = np.random.default_rng(0).random(1000) < 0.5
    found = guessed(np.zeros(1000), planted, CLAIM, Examiner(guesses=500))
    assert found.bound == 0
    assert found.kind == "not refuted"


@pytest.mark.parametrize("number", [0, 13])
def test_more_guesses_than_canaries_are_refused(number):
    with pytest.raises(ValueError, match="--guesses is"):
        guessed(np.zeros(12), np.ones(12, dtype=bool), CLAIM, Examiner(guesses=number))


def test_a_score_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="NaN or infinite"):
        guessed(np.full(12, np.nan), np.ones(12, dtype=bool), CLAIM, Examiner(guesses=4))


@pytest.mark.parametrize("epsilon", [2.0, 8.0])
def test_a_gaussian_of_just_that_epsilon_is_not_refuted_and_a_fifth_of_its_noise_is(epsilon):
    """Exact answer known: canaries whose scores are a Gaussian mechanism's of just this ε."""
    delta, n = 1e-5, 1000
    mu = next(m for m in np.linspace(0.1, 5, 500) if epsilon_of_mu(m, delta) >= epsilon)
    claim = Claim(
        epsilon=epsilon, by="", events=({"event": "Gaussian", "noise_multiplier": 1 / mu},)
    )
    number = best_guesses(n, claim, delta=delta, confidence=0.95)
    needed = least_refuting(claim.events, n, number, 0.975)
    assert needed is not None
    rng = np.random.default_rng(0)
    for factor, refuted in ((1, False), (5, True)):
        for _ in range(4):
            planted = rng.random(n) < 0.5
            scores = rng.normal(size=n) + factor * mu * planted
            found = guessed(scores, planted, claim, Examiner(guesses=number))
            assert (found.right >= needed) == refuted, (number, needed, found.right)
            assert refuted or found.bound <= epsilon


@pytest.mark.parametrize("multiplier", [0.001, 0.01, 0.1])
def test_a_claim_that_nothing_could_contradict_is_out_of_reach(multiplier):
    event = {"event": "Gaussian", "noise_multiplier": multiplier}
    epsilon = accounting.epsilon([event], 1e-5)
    number = best_guesses(20, Claim(epsilon=epsilon, by="", events=(event,)), **SETTINGS)
    planted = np.arange(20) >= 10
    claim = Claim(epsilon=epsilon, by="", events=(event,))
    assert guessed(np.arange(20.0), planted, claim, Examiner(guesses=number)).kind == "out of reach"


def test_where_a_step_draws_some_only_in_is_guessed():
    event = accounting.dp_sgd(noise_multiplier=1.0, sample_rate=0.5, steps=4).event
    claim = Claim(epsilon=8.0, by="", events=(event,))
    number = best_guesses(100, claim, delta=1e-5, confidence=0.95)
    assert number <= 40  # half of them are in
    planted = np.arange(100) >= 50
    assert guessed(np.arange(100.0), planted, claim, Examiner(guesses=40)).right == 40
    assert guessed(-np.arange(100.0), planted, claim, Examiner(guesses=40)).right == 0
