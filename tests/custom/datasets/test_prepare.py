"""Tests of medleak.custom.datasets.prepare."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medleak.custom.data.datalist import DataError, Item, load_datalist
from medleak.custom.datasets.prepare import (
    Content,
    check_patients,
    choose,
    prepare,
    prepare_public,
    prepared_lists,
)
from medleak.custom.phantoms import listing
from medleak.custom.sites.split import TMI_TABLE_II, Site, parse_table
from medleak.custom.training.site_data import Source, site_lists

CONTENT = Content(name="chests", classes=("normal", "pneumonia"), modality="cxr", channels=1)
TABLE = (Site("a", 2, 4, 4), Site("b", 1, 1, 4, shares="a"), Site("c", 2, 6, 2))


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_lists_have_the_tables_numbers_and_no_patient_twice(tmp_path):
    description = prepare(listing(3200), tmp_path, tmp_path / "out", CONTENT)
    assert description["scale"] == 1
    assert parse_table(description["table"]) == TMI_TABLE_II
    loaded = {}
    for site in TMI_TABLE_II:
        lists = load_datalist(tmp_path / "out" / f"{site.name}.json", num_classes=2)
        assert (len(lists["training"]), len(lists["validation"])) == (site.training, 200)
        if site.training > 1:
            assert set(Counter(i.label for i in lists["training"]).values()) == {site.training // 2}
        loaded[site.name] = lists
    check_patients(loaded)
    assert loaded["site-9"]["training"][0].label == 0  # TMI: a normal case, shared with client 1
    assert loaded["site-9"]["training"][0] in loaded["site-1"]["training"]


def test_equal_arguments_write_equal_files_and_another_seed_others(tmp_path):
    items = listing(120)
    for out, seed in (("one", 0), ("two", 0), ("three", 1)):
        prepare(
            items[::-1] if out == "two" else items,
            tmp_path,
            tmp_path / out,
            CONTENT,
            seed=seed,
            table=TABLE,
        )
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert files(tmp_path / "one") != files(tmp_path / "three")


@settings(deadline=None)  # it waits for the disk
@given(st.integers(0, 30))
def test_the_test_list_is_even_and_as_long_as_asked(tmp_path_factory, test):
    out = tmp_path_factory.mktemp("out")
    prepare(listing(120), out, out, CONTENT, table=TABLE, test=test)
    labels = Counter(i.label for i in load_datalist(out / "a.json")["test"])
    assert labels.total() == test
    assert abs(labels[0] - labels[1]) <= 1


@pytest.mark.parametrize(("scale", "length"), [(1, 20), (0.5, 10), (0.01, 2)])
def test_the_papers_test_list_shrinks_with_the_table_down_to_a_validation_list(
    tmp_path, scale, length
):
    options = {"table": (Site("a", 2, 16, 8),), "scale": scale, "published_test": 20}
    said = prepare(listing(120), tmp_path, tmp_path / "out", CONTENT, **options)
    assert said["test"] == length
    asked = prepare(listing(120), tmp_path, tmp_path / "asked", CONTENT, **options, test=3)
    assert asked["test"] == 3


def test_the_description_names_no_file_and_no_patient(tmp_path):
    description = prepare(listing(120), tmp_path, tmp_path / "out", CONTENT, table=TABLE)
    text = (tmp_path / "out" / "dataset.json").read_text()
    assert json.loads(text) == description
    assert "p000" not in text
    assert ".png" not in text
    assert str(tmp_path) not in text
    assert description["images"] == {"normal": 60, "pneumonia": 60}
    assert description["sites"]["c"] == {"training": 6, "validation": 2}


def test_too_few_images_shrink_the_table_and_far_too_few_are_refused(tmp_path):
    description = prepare(listing(400), tmp_path, tmp_path / "out", CONTENT)
    assert 0 < description["scale"] < 1
    with pytest.raises(DataError, match="too few"):
        prepare(listing(40), tmp_path, tmp_path / "none", CONTENT)
    assert not (tmp_path / "none").exists()


def test_a_folder_of_other_lists_is_not_mixed_with_new_ones(tmp_path):
    prepare(listing(120), tmp_path, tmp_path / "out", CONTENT, table=TABLE)
    before = files(tmp_path / "out")
    with pytest.raises(DataError, match="other images or settings"):
        prepare(listing(120), tmp_path, tmp_path / "out", CONTENT, table=TABLE, seed=1)
    assert files(tmp_path / "out") == before
    prepare(listing(120), tmp_path, tmp_path / "out", CONTENT, table=TABLE)


def test_masks_are_listed_with_their_images(tmp_path):
    items = [
        Item(f"images/{i.image}", i.label, i.patient, f"masks/{i.image}") for i in listing(120)
    ]
    assert prepare(items, tmp_path, tmp_path / "out", CONTENT, table=TABLE)["masks"]
    (item, *_) = load_datalist(tmp_path / "out" / "a.json")["training"]
    assert item.mask == item.image.replace("/images/", "/masks/")


def test_a_choice_of_public_images_is_the_same_in_any_order(tmp_path):
    items = listing(50)
    assert choose(items, 7, 3) == choose(items[::-1], 7, 3)
    assert choose(items, 7, 3) != choose(items, 7, 4)
    assert choose(items, None) == choose(items, 99) == sorted(items)


def test_public_images_become_one_list(tmp_path):
    content = Content(name="open", classes=("normal", "pneumonia"))
    items = choose(listing(50), 7)
    assert prepare_public(items, tmp_path, tmp_path / "out", content)["public"] == 7
    lists = load_datalist(tmp_path / "out" / "public.json")
    assert [Path(i.image).relative_to(tmp_path).as_posix() for i in lists["training"]] == [
        i.image for i in items
    ]


def test_a_job_takes_the_prepared_lists_as_they_are(tmp_path):
    prepare(listing(120), tmp_path, tmp_path / "out", CONTENT, table=TABLE)
    source = Source(classes=CONTENT.classes, data_root=tmp_path / "out")
    assert site_lists(source, "c", tmp_path / "run") == load_datalist(tmp_path / "out" / "c.json")


@pytest.mark.parametrize(
    ("classes", "site", "message"),
    [
        (("pneumonia", "normal"), "a", "labels would mean something else"),
        (CONTENT.classes, "d", r"no d\.json"),
    ],
)
def test_lists_of_other_classes_or_without_the_site_are_refused(tmp_path, classes, site, message):
    prepare(listing(120), tmp_path, tmp_path / "out", CONTENT, table=TABLE)
    with pytest.raises(DataError, match=message):
        prepared_lists(tmp_path / "out", site, classes)


def test_a_folder_that_was_not_prepared_has_no_lists(tmp_path):
    assert prepared_lists(tmp_path, "a", CONTENT.classes) is None


@pytest.mark.parametrize("content", ["{", "[]", '{"format_version": 2}'])
def test_a_damaged_description_is_refused_by_name(tmp_path, content):
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(DataError, match=r"dataset\.json"):
        prepared_lists(tmp_path, "a", CONTENT.classes)


def item(k, patient):
    return Item(f"{k}.png", 0, patient)


def test_one_patient_in_two_sites_is_refused_by_place():
    lists = {
        "north": {"training": [item(0, "7"), item(1, "8")], "validation": []},
        "south": {"training": [item(2, "9"), item(3, "8")], "validation": []},
    }
    with pytest.raises(DataError) as caught:
        check_patients(lists)
    assert "south: training[1] is of the same patient as north: training[1]" in str(caught.value)
    assert ".png" not in str(caught.value)


def test_one_patient_in_two_sections_of_a_site_is_refused():
    lists = {"north": {"training": [item(0, "7")], "test": [item(1, "7")]}}
    with pytest.raises(DataError, match=r"north: test\[0\].*north: training\[0\]"):
        check_patients(lists)


def test_shared_test_lists_and_visits_within_a_list_are_no_leak():
    lists = {
        site: {"training": [item(k, site), item(k + 9, site)], "test": [item(5, "t")]}
        for k, site in enumerate(("north", "south"))
    }
    check_patients(lists)
    lists["south"]["validation"] = [item(20, "north")]
    with pytest.raises(DataError, match=r"south: validation\[0\].*north: training\[0\]"):
        check_patients(lists)
