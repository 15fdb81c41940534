"""Tests of budget: what is foretold is what a recorder with that budget keeps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medleak.custom.record.keeping.budget import Need


def kept_by_a_recorder(need: Need, budget: float) -> int:
    """Updates that fit, one after the other, the model counted with the first of its round."""
    used = kept = 0
    for _ in range(0, need.rounds, need.every_n_rounds):
        sent = False
        for _ in range(need.sites):
            more = need.model_bytes + (0 if sent else need.model_bytes)
            if used + more <= budget:
                used, kept, sent = used + more, kept + 1, True
    return kept


@given(
    st.integers(1, 10**6), st.integers(1, 9), st.integers(1, 30), st.integers(1, 5), st.floats(0, 2)
)
def test_as_many_updates_fit_as_a_recorder_keeps(model, sites, rounds, every, share):
    need = Need(model_bytes=model, sites=sites, rounds=rounds, every_n_rounds=every)
    budget = share * need.total_bytes
    assert need.fitting(budget)[1] == kept_by_a_recorder(need, budget)
    assert bool(need.left_out(budget)) == (need.fitting(budget)[1] < need.kept_rounds * sites)


def test_what_is_left_out_and_what_to_do_is_said():
    need = Need(model_bytes=45_000_000, sites=100, rounds=100)
    assert need.total_bytes == pytest.approx(454.5e9, rel=0.001)
    assert need.left_out(500e9) == ""
    said = need.left_out(46e9)
    assert said.startswith("8989 of 10000 updates will be left out, those from round 10 on")
    assert "every_n_rounds=10 would keep" in said
    assert "Not one round fits" in need.left_out(1e9)


def test_rounds_are_spread_so_that_the_budget_holds():
    need = Need(model_bytes=10**6, sites=3, rounds=10)
    n = need.spread(need.round_bytes * 4)
    assert n == 3  # rounds 0, 3, 6, 9
    assert (
        Need(model_bytes=10**6, sites=3, rounds=10, every_n_rounds=n).left_out(need.round_bytes * 4)
        == ""
    )
    assert need.spread(need.round_bytes - 1) is None
