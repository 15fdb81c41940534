"""Tests of medleak.inversion.calibration.search: the search, and the defences it knows."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medleak.filters.registry import DEFENCES, defence
from medleak.inversion.calibration.search import (
    least_protecting,
    mechanism,
    stronger,
)


def search(weak, strong, tolerance, protects, **options):
    """(result, strengths tried) where ``protects`` says what a strength does."""
    tried = []
    steps = least_protecting(weak, strong, tolerance, **options)
    try:
        strength = next(steps)
        while True:
            tried.append(strength)
            strength = steps.send(protects(strength))
    except StopIteration as end:
        return end.value, tried


def test_by_decades_then_by_halves():
    found, tried = search(0.01, 100, 1.25, lambda s: s >= 3)
    assert tried[:4] == [0.01, 0.1, 1, 10]
    assert tried[4:] == [3.16, 1.78, 2.37, 2.74, 2.94][: len(tried) - 4]
    assert found == 3.16
    assert max(s for s in tried if s < 3) >= 3.16 / 1.25


def test_where_less_protects_the_search_goes_down():
    found, tried = search(0.5, 0.001, 1.25, lambda s: s <= 0.02)
    assert tried[:3] == [0.5, 0.05, 0.005]
    assert 0.02 / 1.25 <= found <= 0.02


def test_the_weak_end_is_the_answer_where_it_protects_already():
    assert search(0.01, 100, 1.25, lambda s: True) == (0.01, [0.01])


def test_where_nothing_protects_there_is_no_answer():
    found, tried = search(0.01, 50, 1.25, lambda s: False)
    assert found is None
    assert tried == [0.01, 0.1, 1, 10, 50]


@settings(max_examples=200, deadline=None)
@given(
    st.floats(-6, 4),
    st.floats(0.1, 6),
    st.floats(-7, 11),
    st.floats(1.05, 3),
    st.booleans(),
)
def test_the_answer_protects_and_is_within_the_tolerance_of_a_leak(
    start, length, threshold, tolerance, down
):
    weak, strong = (float(f"{10**x:.3g}") for x in (start, start + length))
    limit = 10**threshold
    if down:
        weak, strong = strong, weak
    found, tried = search(weak, strong, tolerance, lambda s: s <= limit if down else s >= limit)
    assert len(tried) == len(set(tried)) <= 25
    assert min(weak, strong) <= min(tried)
    assert max(tried) <= max(weak, strong)
    leaking = [s for s in tried if (s > limit if down else s < limit)]
    if found is None:
        assert strong in leaking
        return
    assert found not in leaking
    if leaking:
        nearest = min(leaking) if down else max(leaking)
        # Three digits: a step cannot be finer than that.
        assert max(found / nearest, nearest / found) <= max(tolerance, 1.011)
    else:
        assert found == weak


@pytest.mark.parametrize(
    ("strength", "strong", "expected"), [(1, 10, 2), (8, 10, 10), (1, 0.1, 0.5), (0.15, 0.1, 0.1)]
)
def test_stronger_stops_at_the_end(strength, strong, expected):
    assert stronger(strength, strong, 2) == expected


@pytest.mark.parametrize(
    ("text", "at_one", "reversed_"),
    [
        ("percentile_gaussian", "percentile_gaussian:sigma0=0.1", False),
        ("percentile_gaussian:scope=group", "percentile_gaussian:sigma0=0.1,scope=group", False),
        ("laplace_perturbation:lr=0.01", "laplace_perturbation:scale=0.1,lr=0.01", False),
        (
            "clipped_gaussian:max_grad_norm=1",
            "clipped_gaussian:noise_multiplier=0.1,max_grad_norm=1",
            False,
        ),
        ("top_k", "top_k:fraction=0.1", True),
        ("random_k", "random_k:fraction=0.1", True),
        ("quantisation", "quantisation:bits=4", True),
        ("withhold+percentile_gaussian", "withhold+percentile_gaussian:sigma0=0.1", False),
    ],
)
def test_a_defence_is_completed_by_its_usual_strength(text, at_one, reversed_):
    found = mechanism(text)
    strength = 4 if found.whole else 0.1
    assert found.text(strength) == at_one
    assert (found.weak > found.strong) is reversed_
    assert found.nothing == ((32.0 if found.whole else 1.0) if reversed_ else 0.0)
    defence(found.text(strength))


def test_a_level_is_one_over_the_scale_so_that_a_lower_one_protects_more():
    found = mechanism("laplace_perturbation", parameter="level", low=1, high=400)
    assert (found.weak, found.strong) == (400, 1)
    assert found.nothing > found.weak


def test_any_defence_with_a_number_can_be_searched_when_it_is_named():
    found = mechanism("quantisation", parameter="bits", low=2, high=16, less_protects=True)
    assert (found.weak, found.strong, found.text(4)) == (16, 2, "quantisation:bits=4")
    assert found.whole
    tried = search(16, 2, 1.25, lambda bits: bits <= 5, whole=True)
    assert tried == (5, [16, 2, 6, 3, 4, 5])
    other = mechanism("percentile_gaussian:sigma0=1", parameter="percentile", low=50, high=99)
    assert other.text(90) == "percentile_gaussian:percentile=90,sigma0=1"
    assert "sign" in DEFENCES


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("prayer", {}, "Unknown defence 'prayer'"),
        ("sign", {}, "name its number"),
        ("percentile_gaussian", {"parameter": "percentile"}, "name its number"),
        ("laplace_perturbation", {"parameter": "level"}, "name its number"),
        ("laplace_perturbation", {"parameter": "level", "low": 1}, "name its number"),
        ("percentile_gaussian", {"low": 5, "high": 5}, "is empty"),
        ("percentile_gaussian", {"low": 0.0}, "finite and above 0"),
        ("percentile_gaussian", {"high": float("inf")}, "finite and above 0"),
        ("clipped_gaussian", {}, "needs max_grad_norm"),
        ("top_k", {"high": 2}, "fraction"),
        ("sign", {"parameter": "bits", "low": 1, "high": 2}, "has no parameter 'bits'"),
    ],
)
def test_what_cannot_be_searched_is_refused(text, options, message):
    with pytest.raises(ValueError, match=message):
        mechanism(text, **options)
