"""Tests of the range checks: what passes, what is refused, and that the refusal says why."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medleak.filters.checks import (
    BUFFERS,
    require_choice,
    require_fraction,
    require_percentile,
    require_positive,
    require_whole,
)

NO_NUMBER = [True, False, "1", None, [1], math.nan]


@given(st.floats(min_value=0, exclude_min=True, allow_infinity=False) | st.integers(min_value=1))
def test_every_finite_number_above_zero_is_positive(value):
    refused = ""
    try:
        require_positive("sigma0", value, "why")
    except ValueError as error:
        refused = str(error)
    assert not refused


@pytest.mark.parametrize("value", [0, -1, -0.0, math.inf, *NO_NUMBER])
def test_what_is_not_positive_is_refused_with_its_name_value_and_reason(value):
    with pytest.raises(
        ValueError, match=r"^sigma0 must be .* got .*: no noise would be added"
    ) as e:
        require_positive("sigma0", value, "no noise would be added")
    assert repr(value) in str(e.value)


@pytest.mark.parametrize("value", [0, 1, -0.5, 1.5, *NO_NUMBER])
def test_a_fraction_excludes_both_ends(value):
    require_fraction("fraction", 0.5, "why")
    with pytest.raises(ValueError, match="fraction must be between 0 and 1"):
        require_fraction("fraction", value, "why")


@pytest.mark.parametrize("value", [1, 9, 4.0, *NO_NUMBER])
def test_a_whole_number_lies_between_its_ends_which_count(value):
    for end in (2, 8):
        require_whole("bits", end, 2, 8, "why")
    with pytest.raises(ValueError, match="bits must be a whole number from 2 to 8"):
        require_whole("bits", value, 2, 8, "why")


@pytest.mark.parametrize("value", [0, -1, 100.5, *NO_NUMBER])
def test_a_percentile_is_above_zero_and_at_most_a_hundred(value):
    for allowed in (1e-3, 95, 100):
        require_percentile("percentile", allowed)
    with pytest.raises(ValueError, match=r"percentile must be in \(0, 100\]"):
        require_percentile("percentile", value)


def test_a_choice_is_refused_with_those_there_are():
    for policy in BUFFERS:
        require_choice("buffers", policy, BUFFERS)
    with pytest.raises(ValueError, match="buffers must be one of noise, drop, pass; got 'keep'"):
        require_choice("buffers", "keep", BUFFERS)
