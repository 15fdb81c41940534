"""Tests of medleak.inversion.results.replays: what stands between an update and the attacker."""

import pytest

from medleak.filters.defences.composition import Composition
from medleak.inversion.results.replays import (
    is_null,
    replay_of,
    require_sites,
    strengths_of,
    sums_over_sites,
)
from medleak.inversion.results.strength import canonical, strength_of

SIGMA = "percentile_gaussian:sigma0=10"


def test_a_text_of_defences_alone_is_what_sites_do():
    replay = replay_of(SIGMA)
    assert (replay.own, replay.sites, replay.noise_alone, replay.tail) == (SIGMA, 1, False, ())
    assert isinstance(replay_of(f"withhold+{SIGMA}").at_site, Composition)


def test_what_no_site_can_do_follows_what_sites_do():
    replay = replay_of(f"{SIGMA}+secure_aggregation:sites=3+noise_alone")
    assert (replay.own, replay.sites, replay.noise_alone) == (SIGMA, 3, True)
    bare = replay_of("secure_aggregation:sites=9")
    assert (bare.at_site, bare.own, bare.sites) == (None, "", 9)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"secure_aggregation:sites=3+{SIGMA}", "no defence behind them"),
        ("noise_alone+secure_aggregation:sites=3", "no defence behind them"),
        ("secure_aggregation:sites=3+secure_aggregation:sites=3", "at most once"),
        ("secure_aggregation", "needs it"),
        ("secure_aggregation:k=3", "takes sites"),
        ("secure_aggregation:sites=3,k=3", "takes sites"),
        ("secure_aggregation:sites=1", "at least 2"),
        ("secure_aggregation:sites=2.5", "whole number"),
        ("secure_aggregation:sites=true", "whole number"),
        ("secure_aggregation:sites=inf", "whole number"),
        ("secure_aggregation:sites=many", "whole number"),
        ("noise_alone:seed=3", "takes no parameter"),
        ("secure_aggregation:sites=3+minimum_batch:step=8", "in this order"),
        (f"minimum_batch:step=8+{SIGMA}", "no defence behind them"),
        ("minimum_batch", "needs it"),
        ("minimum_batch:step=0", "at least 1"),
        ("minimum_batch:step=1.5", "whole number"),
        ("prayer+noise_alone", "Unknown defence 'prayer'"),
    ],
)
def test_what_cannot_be_replayed_is_refused(text, words):
    with pytest.raises(ValueError, match=words):
        replay_of(text)


def test_a_step_of_so_many_images_is_made_before_sums_and_after_nothing():
    replay = replay_of(f"{SIGMA}+minimum_batch:step=8+secure_aggregation:sites=3+noise_alone")
    assert (replay.own, replay.step, replay.sites, replay.noise_alone) == (SIGMA, 8, 3, True)
    assert replay_of(SIGMA).step is None


def test_sums_and_nulls_are_known_by_their_text_whoever_wrote_it():
    assert sums_over_sites("withhold+secure_aggregation:sites=3")
    assert is_null(f"{SIGMA}+noise_alone")
    assert not sums_over_sites(SIGMA)
    assert not is_null("none")
    assert not is_null("a:b:c=+")


def test_sites_are_a_strength_that_a_calibration_can_turn():
    found = strength_of("withhold+secure_aggregation:sites=3")
    assert (found.key, found.value, found.family) == ("sites", 3.0, "withhold + secure_aggregation")
    assert not found.less_protects
    assert strengths_of("prayer") is None
    assert canonical("secure_aggregation:sites=3") == canonical("secure_aggregation:sites=3.0")
    assert canonical(f"{SIGMA}+noise_alone").endswith("+noise_alone")


def test_a_sum_over_more_sites_than_sent_is_refused():
    require_sites(3, 3, 0)
    with pytest.raises(ValueError, match="3 sent an update in round 7"):
        require_sites(4, 3, 7)
