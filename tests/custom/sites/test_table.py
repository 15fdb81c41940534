"""Tests of the tables of sites."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.custom.sites.tables import refusal, scales, singles, tables

from medleak.custom.sites.split import (
    TMI_TABLE_II,
    Site,
    format_table,
    images_needed,
    parse_table,
    scaled,
    split,
)


def test_the_table_is_the_published_one():
    # TMI Table II: batch sizes, training counts, and its sums of the images that no one shares.
    assert [s.batch_size for s in TMI_TABLE_II] == [4, 4, 4, 4, 8, 8, 8, 8, 1]
    assert [s.training for s in TMI_TABLE_II] == [8, 32, 128, 512, 8, 32, 128, 512, 1]
    assert {s.validation for s in TMI_TABLE_II} == {200}
    own = [s for s in TMI_TABLE_II if s.shares is None]
    assert sum(s.training for s in own) == 1360
    assert sum(s.validation for s in own) == 1600
    assert images_needed(TMI_TABLE_II) == 1360 + 1600 + 200


@given(tables)
def test_a_table_survives_being_written_as_one_word(sites):
    text = format_table(sites)
    assert parse_table(text) == sites
    assert not set(text) & set(" \"'{}$\\")


def test_the_word_of_a_table_is_what_the_help_says():
    assert parse_table("site-1:4:8:200, site-9:1:1:200:site-1") == (
        Site("site-1", 4, 8, 200),
        Site("site-9", 1, 1, 200, "site-1"),
    )


@pytest.mark.parametrize(
    "text", ["", "a", "a:1:2", "a:1:2:x", "a:1:2:3:b:c", "a:1.5:2:3", "a:1:2:3,", "a::2:3"]
)
def test_a_word_that_is_no_table_is_refused(text):
    assert "Write name:batch_size" in refusal(parse_table, text)


@pytest.mark.parametrize(
    ("row", "what"),
    [
        (("a", 0, 8, 2), "batch_size 0"),
        (("a", 4, 0, 2), "training 0"),
        (("a", 4, 8, -1), "validation -1"),
        (("../a", 4, 8, 2), "'../a'"),
        (("", 4, 8, 2), "''"),
        (("a" * 64, 4, 8, 2), "63"),
    ],
)
def test_a_row_that_no_client_can_run_is_refused(row, what):
    assert what in refusal(Site, *row)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a:1:2:3,a:1:2:3", "2 times"),
        ("a:1:2:3,b:1:1:3:c", "'c'"),
        ("a:1:2:3,b:1:1:3:b", "'b'"),
        ("a:1:2:3,b:1:1:3:a,c:1:1:3:b", "'b'"),
        ("a:1:2:3,b:1:3:3:a", "wants 3"),
    ],
)
def test_rows_that_contradict_each_other_are_refused(text, what):
    assert what in refusal(parse_table, text)
    rows = [row.split(":") for row in text.split(",")]
    sites = [Site(r[0], int(r[1]), int(r[2]), int(r[3]), *r[4:]) for r in rows]
    assert what in refusal(split, singles(40), sites)


def test_a_table_of_nobody_is_refused():
    assert "no site" in refusal(images_needed, [])


@given(tables, scales, st.integers(2, 5))
def test_scaling_keeps_batches_whole_and_small_sites_as_they_are(sites, scale, num_classes):
    new = scaled(sites, scale, num_classes)
    for before, after in zip(sites, new, strict=True):
        assert (after.name, after.batch_size) == (before.name, before.batch_size)
        assert 1 <= after.training <= before.training
        if after.training != before.training:
            assert after.training % after.batch_size == 0
            assert after.training >= 8
        if before.training <= 8:
            assert after.training == before.training or before.shares
        if before.shares is None:
            assert after.validation <= before.validation
            assert (after.validation > 0) == (before.validation > 0)
            if after.validation != before.validation:
                assert after.validation % num_classes == 0
    parse_table(format_table(new))


@pytest.mark.parametrize("scale", [1, 0.5, 0.25, 0.125, 0.01])
def test_a_scaled_table_keeps_the_high_risk_and_the_smallest_sites(scale):
    new = {site.name: site for site in scaled(TMI_TABLE_II, scale)}
    assert (new["site-1"].training, new["site-5"].training, new["site-9"].training) == (8, 8, 1)
    assert new["site-9"].validation == new["site-1"].validation >= 2
    assert all(site.validation % 2 == 0 for site in new.values())


def test_an_eighth_of_the_table_by_hand():
    new = scaled(TMI_TABLE_II, 0.125)
    assert [s.training for s in new] == [8, 8, 16, 64, 8, 8, 16, 64, 1]
    assert {s.validation for s in new} == {24}


@pytest.mark.parametrize("scale", [0, -0.1, 1.01, float("nan"), float("inf")])
def test_a_scale_that_does_not_shrink_is_refused(scale):
    assert f"got {scale}" in refusal(scaled, TMI_TABLE_II, scale)
