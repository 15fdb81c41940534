"""Tests of medleak.custom.sites.split."""

from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.custom.sites.tables import refusal, singles, tables
from tests.places import SHARED

from medleak.custom.data.datalist import Item
from medleak.custom.data.folders.classes import read_folders
from medleak.custom.phantoms import listing
from medleak.custom.sites.split import (
    TMI_TABLE_II,
    Site,
    images_needed,
    largest_scale,
    scaled,
    split,
)
from medleak.custom.sites.table import batch_size_of


def used(result):
    """All lists of a split that must not meet, by place: sites that share are left out."""
    places = {
        (name, section): items
        for name, lists in result.sites.items()
        if not name.startswith("guest") and name != "site-9"
        for section, items in lists.items()
    }
    return {**places, ("", "test"): result.test}


def check_rules(result, items, sites):
    """What `split` guarantees, for any items and table."""
    patients = {place: {i.patient for i in group} for place, group in used(result).items()}
    for (_, first), (_, second) in combinations(patients.items(), 2):
        assert not first & second
    labels = {item.label for item in items}
    known = set(items)
    for site in sites:
        lists = result.sites[site.name]
        for section, count in (("training", site.training), ("validation", site.validation)):
            if section == "validation" and site.shares:
                assert lists[section] == result.sites[site.shares][section]
                continue
            assert len(set(lists[section])) == len(lists[section]) == count
            per_class = Counter({label: 0 for label in labels})
            per_class.update(item.label for item in lists[section])
            if not site.shares:
                assert max(per_class.values()) - min(per_class.values()) <= 1
            assert set(lists[section]) <= known
        if site.shares:
            assert set(lists["training"]) <= set(result.sites[site.shares]["training"])
    everyone = {i.patient for i in items}
    assert {i.patient for i in result.test} <= everyone
    assert set(result.test) == {i for i in items if i.patient in patients["", "test"]}


@given(
    tables,
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2)), max_size=150),
    st.integers(0, 99),
    st.randoms(use_true_random=False),
)
def test_a_split_keeps_its_guarantees_in_any_order_of_the_items(sites, images, seed, random):
    images = [(f"{n:02d}", label) for n, label in images]
    items = [Item(f"{k}.png", label, patient) for k, (patient, label) in enumerate(images)]
    items += [Item(f"single-{k}.png", k % 3, f"single-{k}") for k in range(300)]
    shuffled = items.copy()
    random.shuffle(shuffled)
    result = split(items, sites, seed)
    assert split(shuffled, sites, seed) == result
    check_rules(result, items, sites)


@pytest.mark.parametrize("scale", [1, 0.25, 0.125, 0.05, 0.01])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_phantoms_as_many_as_needed_fill_the_published_table(scale, seed):
    sites = scaled(TMI_TABLE_II, scale)
    items = listing(images_needed(sites), seed)
    result = split(items, sites, seed)
    check_rules(result, items, sites)
    assert result.test


def test_the_high_risk_site_has_a_normal_case_and_the_validation_set_of_site_1():
    result = split(singles(800), scaled(TMI_TABLE_II, 0.2))
    (image,) = result.sites["site-9"]["training"]
    assert image.label == 0
    assert image in result.sites["site-1"]["training"]
    assert result.sites["site-9"]["validation"] == result.sites["site-1"]["validation"]


def test_another_seed_is_another_split():
    sites = scaled(TMI_TABLE_II, 0.1)
    assert split(singles(400), sites, 0) != split(singles(400), sites, 1)


def test_the_same_image_listed_twice_is_dealt_once():
    result = split(singles(20) * 2, [Site("a", 4, 8, 4)])
    assert len(result.test) == 8


@pytest.mark.parametrize("num_classes", [3, 4, 10])
def test_more_classes_are_dealt_as_evenly_as_counts_allow(num_classes):
    items = singles(40 * num_classes, num_classes)
    sites = [Site("a", 4, 8, 4), Site("b", 8, 32, 4), Site("guest-1", 1, 2, 0, shares="b")]
    result = split(items, sites)
    check_rules(result, items, sites)
    assert [item.label for item in result.sites["guest-1"]["training"]] == [0, 1]


def test_a_site_gets_its_three_lists():
    result = split(singles(20), [Site("a", 4, 8, 4), Site("b", 1, 1, 0, shares="a")])
    lists = result.lists("a")
    assert {section: len(items) for section, items in lists.items()} == {
        "training": 8,
        "validation": 4,
        "test": 8,
    }
    assert result.lists("b")["test"] == lists["test"]


def test_an_unknown_site_is_refused_by_name():
    result = split(singles(20), [Site("a", 4, 8, 4)])
    assert "'site-7'" in refusal(result.lists, "site-7")


def test_a_site_that_would_stay_without_images_is_refused_by_name():
    message = refusal(split, singles(20), [Site("a", 4, 8, 4), Site("b", 4, 12, 4)])
    assert "'b'" in message
    assert "class" in message


def test_no_images_at_all_are_refused():
    assert "no images" in refusal(split, [], TMI_TABLE_II)


def test_a_class_that_runs_out_is_refused_even_with_images_of_another_left():
    items = [Item(f"{k}.png", int(k < 3), f"{k}") for k in range(100)]
    assert "class 1, and 1 of those are missing" in refusal(split, items, [Site("a", 4, 8, 0)])


@pytest.mark.parametrize("n", [200, 771, 1500, 3160, 4000])
def test_the_largest_scale_is_the_largest_that_leaves_a_test_set(n):
    items = listing(n)
    scale = largest_scale(TMI_TABLE_II, items)
    result = split(items, scaled(TMI_TABLE_II, scale))
    assert len(result.test) >= len(result.sites["site-1"]["validation"])
    if n >= 3160:
        assert scale == 1
    else:
        assert images_needed(scaled(TMI_TABLE_II, scale + 0.01)) > n


def test_data_too_small_for_any_scale_are_refused():
    message = refusal(largest_scale, TMI_TABLE_II, singles(60))
    assert "60 images" in message


def test_a_site_has_the_batch_size_of_its_row_and_without_one_none():
    assert {s.name: batch_size_of(TMI_TABLE_II, s.name) for s in TMI_TABLE_II} == {
        s.name: s.batch_size for s in TMI_TABLE_II
    }
    message = refusal(batch_size_of, (Site("a", 1, 1, 0), Site("b", 2, 2, 0)), "site-1")
    assert "'site-1' has no row" in message
    assert "the table has a, b" in message


def test_no_data_have_no_largest_scale():
    assert "0 images" in refusal(largest_scale, TMI_TABLE_II, [])


@pytest.mark.skipif(
    not (SHARED / "data" / "cxr").is_dir(), reason="no real X-rays in MEDLEAK_SHARED"
)
def test_real_xrays_fill_a_quarter_of_the_table_by_patient():
    items, names = read_folders(SHARED / "data" / "cxr", ["normal", "pneumonia"])
    assert names == ("normal", "pneumonia")
    assert len({item.patient for item in items}) < len(items) == 771
    scale = largest_scale(TMI_TABLE_II, items)
    assert scale >= 0.2
    sites = scaled(TMI_TABLE_II, scale)
    check_rules(split(items, sites), items, sites)
