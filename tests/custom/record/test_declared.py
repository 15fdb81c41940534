"""Tests of what a site declares beside its update, as an update's info."""

import numpy as np
import pytest

from medleak.custom.record import RecordError
from medleak.custom.record.declared import declared_info, hides_schedule


def test_what_is_declared_is_taken_and_the_rest_is_unknown():
    info, unusable = declared_info(3, "a", {"n_images": np.int64(4), "lr": 0.1, "other": 1})
    assert (info.round, info.site, info.n_images, info.lr, info.batch_size) == (
        3,
        "a",
        4,
        0.1,
        None,
    )
    assert (info.sources["lr"], info.sources["batch_size"]) == ("declared", "unknown")
    assert unusable == []


@pytest.mark.parametrize("schedule", [None, "lr=0.1", 3, ["lr"]])
def test_what_is_no_mapping_declares_nothing(schedule):
    info, unusable = declared_info(0, "a", schedule)
    assert set(info.sources.values()) == {"unknown"}
    assert unusable == []


def test_what_no_training_has_is_unknown_and_said():
    info, (first,) = declared_info(0, "a", {"lr": -1.0, "n_steps": 2})
    assert (info.lr, info.n_steps) == (None, 2)
    assert "lr" in first
    assert "-1.0" in first


def test_of_a_ledger_its_head_is_kept():
    ledger = {"entries": 2, "head": "0" * 64, "more": "x"}
    info, _ = declared_info(0, "a", {}, ledger=ledger)
    assert info.ledger is not None
    assert info.ledger.entries == 2


@pytest.mark.parametrize("words", [{"defences": "noise"}, {"ledger": {"entries": 0}}])
def test_unusable_defences_or_ledgers_are_refused(words):
    with pytest.raises(RecordError, match="unusable defence or ledger"):
        declared_info(0, "a", {}, **words)


def test_a_mark_of_canaries_is_kept():
    info, unusable = declared_info(0, "a", {"canaries": {"kind": "images", "count": 64}})
    assert info.canaries is not None
    assert (info.canaries.kind, info.canaries.count) == ("images", 64)
    assert unusable == []
    assert declared_info(0, "a", {})[0].canaries is None


@pytest.mark.parametrize(
    "mark", [{"kind": "images"}, {"kind": "films", "count": 3}, {"kind": "images", "count": 0}, 7]
)
def test_a_mark_that_cannot_be_read_is_an_error_and_no_unmarked_update(mark):
    with pytest.raises(RecordError, match="or canaries"):
        declared_info(0, "a", {"canaries": mark})


def test_only_a_guarantee_may_hide_the_schedule():
    formal, heuristic = [{"name": "clipped_gaussian"}], [{"name": "percentile_gaussian"}]
    assert 'disclose=["schedule"]' in hides_schedule(formal, None)
    assert hides_schedule(formal, {}) == ""
    assert hides_schedule(heuristic, None) == ""
    assert hides_schedule(None, None) == ""
    assert hides_schedule("noise", None) == ""
