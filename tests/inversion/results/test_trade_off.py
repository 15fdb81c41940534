"""Tests of what privacy costs: worst leaks, accuracies, and the front of both."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medleak.inversion.results.trade_off import (
    Leak,
    TradeOff,
    front,
    trade_offs,
    utility_text,
)
from medleak.inversion.results.utility import Utility

NOISE = "percentile_gaussian:sigma0="


def utility(defence, accuracy=0.9, strength=None):
    limits = {"lower95": accuracy - 0.03, "upper95": accuracy + 0.03}
    return Utility(
        defence=defence, strength=strength, accuracy=accuracy, **limits, n=200, source="run"
    )


def point(leak, accuracy, name="none"):
    found = Leak(protection=name, site="s", bound=leak)
    return TradeOff(protection=name, leak=found, utility=utility(name, accuracy))


def test_a_protection_leaks_what_it_leaks_at_the_worst_site():
    leaks = [Leak(protection="none", site=s, bound=b) for s, b in (("a", 0.1), ("b", 0.6))]
    leaks.append(Leak(protection="sign", site="a", bound=0.0))
    (found,) = trade_offs(leaks, [utility("none", 0.8)])
    assert (found.leak.site, found.leak.bound, found.utility.accuracy) == ("b", 0.6, 0.8)


def test_accuracy_belongs_to_what_a_defence_does_and_not_to_its_text():
    leaks = [Leak(protection=f"{NOISE}10,scope=update", site="a", bound=0.1)]
    (found,) = trade_offs(leaks, [utility(f"{NOISE}10,scope=group"), utility(f"{NOISE}10.0", 0.7)])
    assert found.utility.accuracy == 0.7


def test_the_front_is_what_no_other_point_beats_in_both():
    best, cheap, beaten = point(-0.2, 0.7), point(0.3, 0.9), point(0.3, 0.8)
    assert front([beaten, cheap, best]) == [best, cheap]


def test_equal_points_do_not_beat_each_other():
    assert len(front([point(0.1, 0.9, "sign"), point(0.1, 0.9)])) == 2


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 5)), min_size=1))
def test_more_leak_on_the_front_buys_more_accuracy(pairs):
    points = [point(leak / 10, accuracy / 10) for leak, accuracy in pairs]
    kept = front(points)
    places = sorted({(p.leak.bound, p.utility.accuracy) for p in kept})
    assert places
    assert [a for _, a in places] == sorted({a for _, a in places})
    for p in points:
        assert any(
            k.leak.bound <= p.leak.bound and k.utility.accuracy >= p.utility.accuracy for k in kept
        )


@pytest.mark.parametrize(
    ("defence", "strength", "text"),
    [
        ("none", None, "none"),
        ("none", 0.0, "none"),
        ("percentile_gaussian:scope=group", 10.0, f"{NOISE}10,scope=group"),
        (f"{NOISE}10", 10.0, f"{NOISE}10"),
        ("not: ours", 3.0, "not: ours"),
    ],
)
def test_a_strength_beside_a_defence_is_part_of_its_text(defence, strength, text):
    assert utility_text(utility(defence, strength=strength)) == text
