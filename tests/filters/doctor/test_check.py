"""Tests of what a check of a site ends in."""

from itertools import permutations

import pytest

from medleak.filters.doctor import check
from medleak.filters.doctor.check import NOT_KNOWN, PROTECTED, UNPROTECTED, healthy, verdict

FINE, DECIDE = check.ok("a", "well"), check.warning("a", "decide")
HOLE, UNSEEN = check.failed("a", "a way out"), check.unknown("a", "not read")


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ((FINE,), PROTECTED),
        ((FINE, DECIDE), PROTECTED),
        ((FINE, UNSEEN), NOT_KNOWN),
        ((FINE, DECIDE, UNSEEN, HOLE), UNPROTECTED),
        ((HOLE,), UNPROTECTED),
    ],
)
def test_one_hole_outweighs_what_is_not_known_and_that_outweighs_what_is_well(found, code):
    for order in permutations(found):
        assert verdict(order) == code
        assert healthy(order) == (code == PROTECTED)


def test_where_nothing_was_looked_at_nothing_is_known():
    assert verdict([]) == NOT_KNOWN
    assert not healthy([])


def test_the_three_exit_codes_differ_and_only_protected_is_zero():
    assert len({PROTECTED, UNPROTECTED, NOT_KNOWN}) == 3
    assert PROTECTED == 0
