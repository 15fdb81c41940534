"""Tests of medleak.inversion.results.found: between the easy case and the prior, by logarithms."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.inversion.results.test_rule import ROW

from medleak.inversion.results.found import (
    at_the_level_of_found,
    found_by_losses,
    parse,
    unidentified,
)

EASY = {"statistics": 0.0034, "span": 0.00045}
START = {"statistics": 0.6, "span": 0.17}


@pytest.mark.parametrize(
    ("losses", "found"),
    [
        # Real X-rays and brain slices, one step of a trained ResNet-18, losses at the end.
        ({"statistics": 0.002, "span": 5.2e-5}, True),  # flipped, SSIM 0.99 as it was seen
        ({"statistics": 0.010, "span": 0.0023}, True),  # shifted, 0.79
        ({"statistics": 0.026, "span": 0.0}, True),  # percentile noise 10, 0.90
        ({"statistics": 0.19, "span": 0.18}, False),  # a wrong batch size, 0.45
        ({"statistics": 0.27, "span": 0.0}, False),  # percentile noise 100, 0.72 (prior 0.50)
        ({"statistics": 1.8, "span": 0.0}, False),  # noise by group, 3, 0.42
    ],
)
def test_measured_losses_are_told_apart(losses, found):
    assert at_the_level_of_found(losses, START, EASY) is found


def test_every_loss_that_can_tell_has_to_say_so():
    assert at_the_level_of_found({"statistics": 0.002, "span": 0.1}, START, EASY) is False
    # Noise has hidden the row spaces, whose loss is 0 for every image.
    no_span = {"statistics": 0.6, "span": 0.0}
    assert at_the_level_of_found({"statistics": 0.002, "span": 0.0}, no_span, EASY) is True
    assert at_the_level_of_found({"statistics": 0.5, "span": 0.0}, no_span, EASY) is False


def test_where_no_loss_can_tell_nothing_is_said():
    assert at_the_level_of_found({}, START, EASY) is None
    assert at_the_level_of_found({"bn": 0.1}, START, EASY) is None
    assert at_the_level_of_found({"span": 0.0}, {"span": 0.0}, EASY) is None


@given(st.floats(1e-6, 1e2), st.floats(1.5, 1e4), st.floats(0, 1))
def test_found_is_what_ends_nearer_to_the_easy_case(easy, ratio, share):
    start = easy * ratio
    loss = {"a": easy * ratio**share}
    found = at_the_level_of_found(loss, {"a": start}, {"a": easy})
    if abs(share - 0.5) > 1e-6:
        assert found is (share < 0.5)


def row(**changes):
    losses = {"losses": "statistics=0.002 span=5e-05", "start_losses": "statistics=0.6 span=0.17"}
    return dataclasses.replace(ROW, **{**losses, **changes})


def test_a_row_is_found_by_its_losses_and_a_healthy_easy_case_alone():
    health = {"reached": True, "ssim": 0.95, "losses": EASY}
    assert found_by_losses(row(), health) is True
    assert found_by_losses(row(stuck=True), health) is False
    assert found_by_losses(row(start_losses=""), health) is None
    for unknown in (None, {"reached": False, "losses": EASY}, {"reached": True}):
        assert found_by_losses(row(), unknown) is None
    assert found_by_losses(row(), {"reached": True, "losses": {"span": "x"}}) is None
    assert unidentified([row(), row(stuck=True)], health) == [row()]


def test_losses_are_read_as_a_row_holds_them_and_what_is_none_is_left_out():
    assert parse("a=0.5 b=nan c=inf d=x e") == {"a": 0.5}
    assert parse("") == {}
