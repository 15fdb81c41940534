"""Tests of medleak.filters.sentinel.checks.channels."""

from tests.filters.sentinel.models import convolutional, linear

from medleak.filters.sentinel.checks.channels import check, shares
from medleak.filters.sentinel.layers import layers_of


def judged(state):
    return check(list(layers_of(state)), state)


def test_live_channels_are_fine():
    assert judged({**linear(), **convolutional()}).statistic == 0.0


def test_dead_rows_are_odd_where_they_are_many():
    state = convolutional()
    state["conv.weight"][:3] = 0
    assert judged(state).status == "fine"
    state["conv.weight"][:12] = 0
    assert judged(state).status == "odd"


def test_channels_that_a_shift_holds_open_are_odd():
    state = convolutional()
    state["bn.weight"][:16], state["bn.bias"][:16] = 0.01, 3.0
    found = judged(state)
    assert (found.status, found.where) == ("odd", "bn")
    layers = list(layers_of(state))
    assert check(layers, state, 0.5).status == "fine"
    assert max(shares(layers, state).values()) == 0.5
