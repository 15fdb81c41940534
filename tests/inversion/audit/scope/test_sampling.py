"""Tests of sampling: the design is kept, and what is said of all sites is right often enough."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom

from medleak.inversion.audit.scope.sampling import (
    Design,
    at_most,
    clear_sites,
    draw,
    in_words,
    not_examined,
)

UPDATES = [(round, f"site-{k}") for round in range(10) for k in range(30)]


def size_of(round, site):
    k = int(site.removeprefix("site-"))
    return None if k >= 27 else 1 + k


def test_a_design_is_read_and_one_that_is_none_is_refused():
    assert Design.parse("sites=20, rounds=5") == Design(sites=20, rounds=5)
    assert Design.parse("rounds=2,seed=7,strata=1") == Design(rounds=2, seed=7, strata=1)
    for text, why in (
        ("strata=2", "draws sites, rounds or both"),
        ("sites=0", "at least one is needed"),
        ("size=3", "has no 'size'"),
        ("sites=many", "sites = 'many'"),
    ):
        with pytest.raises(ValueError, match=why):
            Design.parse(text)


def test_sites_are_drawn_from_every_stratum_in_proportion():
    sample = draw(UPDATES, size_of, Design(sites=10, rounds=2))
    assert [s.sizes for s in sample.strata] == [(1, 9), (10, 18), (19, 27), None]
    assert [len(s.sites) for s in sample.strata] == [9, 9, 9, 3]
    assert [len(s.drawn) for s in sample.strata] == [3, 3, 3, 1]
    assert all(set(s.drawn) <= set(s.sites) for s in sample.strata)
    drawn = {site for s in sample.strata for site in s.drawn}
    assert {site for _, site in sample.updates} == drawn
    assert len(sample.updates) == 20


def test_of_a_site_early_and_late_rounds_are_drawn():
    sample = draw(UPDATES, size_of, Design(rounds=2))
    for site in {site for _, site in sample.updates}:
        early, late = sorted(round for round, s in sample.updates if s == site)
        assert early < 5 <= late
    assert len({round for round, _ in sample.updates}) == 10  # not the same of each


def test_the_seed_decides_and_nothing_else_does():
    design = Design(sites=8, rounds=3)
    one = draw(UPDATES, size_of, design)
    assert draw(list(reversed(UPDATES)), size_of, design) == one
    assert draw(UPDATES, size_of, Design(sites=8, rounds=3, seed=1)).updates != one.updates
    # As drawn by every medleak: a later one that draws others would mix two samples in one audit.
    assert sorted(one.strata[0].drawn) == ["site-0", "site-3", "site-6"]


@given(st.integers(1, 12), st.integers(1, 5), st.integers(1, 40), st.integers(1, 12))
def test_whatever_the_numbers_as_many_are_drawn_as_asked_for(sites, strata, wanted, rounds):
    updates = [(r, f"s{k}") for k in range(sites) for r in range(1 + k % 4)]
    design = Design(sites=wanted, rounds=rounds, strata=strata)
    if wanted < min(strata, sites):
        with pytest.raises(ValueError, match="at least one is needed"):
            draw(updates, lambda r, s: 1, design)
        return
    sample = draw(updates, lambda r, s: 1, design)
    drawn = [site for s in sample.strata for site in s.drawn]
    assert len(drawn) == len(set(drawn)) == min(wanted, sites)
    assert set(itertools.chain(*(s.sites for s in sample.strata))) == {s for _, s in updates}
    for site in drawn:
        of = [u for u in updates if u[1] == site]
        assert len(sample.updates & set(of)) == min(rounds, len(of))


def test_what_was_not_drawn_is_counted_by_site():
    recorded = [(0, "b"), (1, "b"), (0, "a"), (0, "c")]
    assert not_examined(recorded, {(0, "a"), (1, "b")}) == {"b": 1, "c": 1}


def test_the_bound_by_hand():
    """Of 10 sites 4 drawn, none doubtful: 4 doubtful ones would be missed with C(6,4)/C(10,4)."""
    stratum = {"sites": 10, "drawn": list("abcd")}
    assert at_most([stratum], set("abcd")) == 4  # 15/210 = 0.071 > 0.05; for 5: 5/210 = 0.024
    assert at_most([stratum], set("abc")) == 6
    assert at_most([stratum], set("xyz")) == 10  # nothing is known of those that were drawn
    assert at_most([{"sites": 4, "drawn": list("abcd")}], set("abc")) == 1  # all were looked at
    assert at_most([], set()) is None
    assert at_most([{"sites": 3, "drawn": list("abcd")}], set()) is None
    assert at_most([{"sites": "x", "drawn": []}], set()) is None


@pytest.mark.parametrize("found", [0, 1, 3])
def test_the_bound_is_never_below_the_one_by_all_ways_to_spread_them(found):
    strata = [(6, 2), (5, 3), (4, 1)]

    def chance(counts):
        """To draw ``found`` or fewer where the strata have so many doubtful sites."""
        sums = np.ones(1)
        for (population, drawn), count in zip(strata, counts, strict=True):
            sums = np.convolve(sums, hypergeom.pmf(range(drawn + 1), population, count, drawn))
        return sums[: found + 1].sum()

    ways = itertools.product(*(range(population + 1) for population, _ in strata))
    exact = max(sum(counts) for counts in ways if chance(counts) > 0.05 - 1e-9)
    names = [[f"{k}-{j}" for j in range(drawn)] for k, (_, drawn) in enumerate(strata)]
    given = [{"sites": n, "drawn": of} for (n, _), of in zip(strata, names, strict=True)]
    most = at_most(given, list(itertools.chain(*names))[found:])
    assert most is not None
    assert exact <= most <= exact + 1


def test_the_bound_holds_in_95_of_100_samples_of_whatever_federation():
    rng = np.random.default_rng(0)
    names = [f"site-{k}" for k in range(30)]
    missed = trials = 0
    for seed in range(400):
        truly = set(rng.choice(names, rng.integers(0, 31), replace=False))
        sample = draw(UPDATES, size_of, Design(sites=8, rounds=1, seed=seed))
        most = at_most(sample.as_json(UPDATES)["strata"], set(names) - truly)
        assert most is not None
        trials, missed = trials + 1, missed + (most < len(truly))
    assert missed / trials <= 0.05


def test_what_is_said_names_what_was_not_looked_at():
    sample = draw(UPDATES, size_of, Design(sites=8, rounds=2)).as_json(UPDATES)
    others, rounds, bound = in_words(sample, {"site-5"})
    assert others == "22 sites were not drawn and not looked at"
    assert rounds == "64 updates of the drawn sites were not looked at"
    assert "if each of the 30 sites were looked at as those 8 were, at most" in bound
    everything = draw(UPDATES, size_of, Design(sites=30)).as_json(UPDATES)
    assert in_words(everything, set()) == []
    assert in_words({**sample, "strata": []}, set())[0].startswith("30 sites were not drawn")


@pytest.mark.parametrize(
    "sample", [{}, {"not_examined": 3}, {"not_examined": {"a": 1}, "strata": 5}, {"strata": [1]}]
)
def test_a_strangers_sample_says_no_bound(sample):
    assert not [text for text in in_words(sample, set()) if "95 %" in text]


def test_a_site_is_clear_where_nothing_of_it_is_in_doubt():
    def group(site, kind):
        return {"site": site, "verdict_kind": kind}

    summary = {
        "sites": [
            *(group(site, "no_leak_found") for site in "abcd"),
            group("a", "inconclusive"),
            group("e", "leaks"),
        ],
        "refused": [{"case": {"site": "b"}, "why": ""}],
        "left": [{"site": "c"}],
    }
    assert clear_sites(summary) == {"d"}
    told = [{"site": "d", "verdict_kind": "leaks"}, {"site": "d", "verdict_kind": "no_leak_found"}]
    assert clear_sites({**summary, "membership": told}) == set()
    assert clear_sites({**summary, "membership": told[1:]}) == {"d"}
    assert clear_sites({**summary, "settled": [{"case": {"site": "d"}, "why": ""}]}) == set()
