"""Tests of SCAFFOLD's control variates: what they tell, and what they tell once protected."""

import numpy as np
import pytest

from medleak.filters.privacy.controls import k_eta_of, protected_controls, told_update
from medleak.filters.update import UpdateError

RNG = np.random.default_rng(0)
UPDATE = {"w": RNG.normal(size=(3, 4)).astype(np.float32), "b": RNG.normal(size=3).astype("f4")}
SERVERS = {"w": RNG.normal(size=(3, 4)).astype(np.float32), "b": np.zeros(3, np.float32)}
K_ETA = 5 * 0.02
CONTROLS = {n: -SERVERS[n] - v / np.float32(K_ETA) for n, v in UPDATE.items()}


def test_controls_in_clear_are_the_update_in_clear():
    told = told_update(CONTROLS, SERVERS, K_ETA)
    for name, value in UPDATE.items():
        np.testing.assert_allclose(told[name], value, rtol=1e-4, atol=1e-6)


def test_steps_times_learning_rate_are_found_and_agree():
    k_eta, missed = k_eta_of(UPDATE, CONTROLS, SERVERS)
    assert k_eta == pytest.approx(K_ETA, rel=1e-5)
    assert missed < 1e-5


def test_controls_of_another_update_do_not_agree():
    other = {n: RNG.normal(size=v.shape).astype(np.float32) for n, v in UPDATE.items()}
    assert k_eta_of(other, CONTROLS, SERVERS)[1] > 0.3
    negative = {n: -v for n, v in UPDATE.items()}
    assert k_eta_of(negative, CONTROLS, SERVERS) == (0.0, 1.0)


def test_protected_controls_tell_the_protected_update_alone():
    noised = {n: v + RNG.normal(size=v.shape).astype(np.float32) for n, v in UPDATE.items()}
    made = protected_controls(CONTROLS, SERVERS, noised, K_ETA)
    told = told_update(made, SERVERS, K_ETA)
    for name, value in noised.items():
        np.testing.assert_allclose(told[name], value, rtol=1e-4, atol=1e-5)
        assert made[name].dtype == np.float32
    assert set(protected_controls(CONTROLS, SERVERS, {"w": noised["w"]}, K_ETA)) == {"w"}


@pytest.mark.parametrize("more", [{"x": np.ones(2)}, {"w": np.ones(3)}])
def test_what_is_no_entry_of_the_update_is_refused(more):
    with pytest.raises(UpdateError, match="no entry of the update"):
        k_eta_of(UPDATE, {**CONTROLS, **more}, SERVERS)
