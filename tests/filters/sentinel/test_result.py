"""Tests of medleak.filters.sentinel.result."""

import pytest

from medleak.filters.sentinel.result import against_earlier, judged, not_examined, nothing_there


def test_the_largest_statistic_decides():
    found = judged("c", {"a": 0.5, "b": 2.0}, 1.0, "size", "none")
    assert (found.status, found.where, found.statistic) == ("odd", "b", 2.0)
    assert "b: size (2, at most 1" in found.words
    assert judged("c", {"a": 1.0}, 1.0, "size", "none").status == "fine"


def test_a_statistic_that_is_no_number_is_odd():
    found = judged("c", {"a": 0.5, "b": float("nan")}, 1.0, "size", "none")
    assert (found.status, found.where) == ("odd", "b")


def test_not_examined_nothing_there_and_fine_are_three_things():
    states = {
        not_examined("c", "why").status,
        nothing_there("c", "why").status,
        judged("c", {"a": 0.0}, 1.0, "size", "none").status,
    }
    assert len(states) == 3
    assert judged("c", {}, 1.0, "size", "none").status == "nothing there"


@pytest.mark.parametrize(("statistic", "limit", "excess"), [(3.0, 2.0, 1.5), (None, None, 0.0)])
def test_the_excess_orders_findings(statistic, limit, excess):
    found = {} if statistic is None else {"a": statistic}
    assert judged("c", found, limit or 1.0, "size", "none").excess == excess


def test_layers_of_no_earlier_round_are_not_examined_and_nothing_fine():
    band = {"a": (0.0, 1.0)}
    assert against_earlier("x", {"a": 0.5}, band, 0.1, "words").status == "fine"
    assert against_earlier("x", {"a": 1.2}, band, 0.1, "words").status == "odd"
    assert against_earlier("x", {"a": float("nan")}, band, 0.1, "words").status == "odd"
    assert against_earlier("x", {"b": 0.5}, band, 0.1, "words").status == "not examined"
