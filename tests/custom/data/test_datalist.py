"""Tests of medleak.custom.data.datalist."""

import json
import os
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.custom.data.pictures import refusal

from medleak.custom.data.datalist import (
    SECTIONS,
    Item,
    load_datalist,
    patient_of,
    save_datalist,
)


@pytest.mark.parametrize(
    ("image", "patient"),
    [
        ("normal/00001684_010.jpg", "00001684"),
        ("fundus/103_left.jpg", "103"),
        ("fundus/103_right.jpg", "103"),
        ("normal/p00012_00.png", "p00012"),
        ("benign/ISIC_0000043.jpg", "benign/ISIC_0000043.jpg"),
        ("glioma/gg_271.jpg", "glioma/gg_271.jpg"),
        ("notumor/7.jpg", "notumor/7.jpg"),
        ("cat/test_00078.png", "cat/test_00078.png"),
        ("covid/1-s2.0-S0929664620300449-gr2_lrg-b.jpg",) * 2,
        ("x/00001684_010_crop.jpg", "x/00001684_010_crop.jpg"),
    ],
)
def test_default_pattern_takes_patients_from_nih_and_fundus_names_only(image, patient):
    assert patient_of(image) == patient


@pytest.mark.parametrize(
    ("pattern", "patient"),
    [
        (r"(?P<visit>\d+)-(?P<patient>\w+)", "ann"),
        (r"(\d+)-\w+", "12"),
        (r"\d+-\w+", "12-ann"),
        (r"\d+", "a/12-ann.png"),
        (r"(x)?\d+-\w+", "a/12-ann.png"),
    ],
)
def test_a_pattern_gives_its_patient_group_or_first_group_or_match(pattern, patient):
    assert patient_of("a/12-ann.png", pattern) == patient


def test_a_pattern_that_is_no_regular_expression_is_refused():
    assert "'('" in refusal(patient_of, "a/1_0.png", "(")


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1)
items = st.builds(Item, names.filter(lambda n: n != "."), st.integers(0, 9), names)


@settings(deadline=None)  # it waits for the disk
@given(st.dictionaries(st.sampled_from(SECTIONS), st.lists(items, max_size=4)))
def test_a_saved_list_loads_as_it_was_joined_to_its_folder(tmp_path_factory, lists):
    folder = tmp_path_factory.mktemp("lists")
    lists.setdefault("training", [])
    save_datalist(folder / "new" / "list.json", lists)
    loaded = load_datalist(folder / "new" / "list.json")
    for section in SECTIONS:
        expected = [
            Item(str(folder / "new" / i.image), i.label, i.patient) for i in lists.get(section, [])
        ]
        assert loaded[section] == expected
    assert os.listdir(folder / "new") == ["list.json"]


def test_names_that_are_no_unicode_survive_saving(tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    save_datalist(tmp_path / "list.json", {"training": [Item(name, 0, name)]})
    assert load_datalist(tmp_path / "list.json")["training"][0].patient == name


def test_an_unknown_section_is_refused_before_anything_is_written(tmp_path):
    assert "'train'" in refusal(save_datalist, tmp_path / "list.json", {"train": []})
    assert os.listdir(tmp_path) == []


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_decathlon_list_loads_with_data_root_patients_and_both_forms_of_label(tmp_path):
    path = write(
        tmp_path / "list.json",
        {
            "name": "chest",
            "training": [
                {"image": "00001_000.png", "label": 1},
                {"image": "/elsewhere/y.png", "label": [0], "patient": 17},
            ],
            "validation": [{"image": "z.png", "label": 0, "patient": "z"}],
        },
    )
    assert load_datalist(path, data_root="/data", num_classes=2) == {
        "training": [Item("/data/00001_000.png", 1, "00001"), Item("/elsewhere/y.png", 0, "17")],
        "validation": [Item("/data/z.png", 0, "z")],
        "test": [],
    }


def test_unlabelled_test_images_of_a_decathlon_task_are_passed_over_but_no_others(tmp_path):
    content = {"training": [], "test": ["./imagesTs/a.png", {"image": "b.png", "label": 1}]}
    lists = load_datalist(write(tmp_path / "l.json", content))
    assert [item.label for item in lists["test"]] == [1]
    content = {"training": ["./imagesTr/a.png"]}
    assert "training[0]" in refusal(load_datalist, write(tmp_path / "l.json", content))


@pytest.mark.parametrize("label", [2, -1, [2], 10**30])
def test_a_label_out_of_range_is_refused_by_image_and_value(tmp_path, label):
    path = write(tmp_path / "l.json", {"training": [{"image": "x.png", "label": label}]})
    message = refusal(load_datalist, path, num_classes=2)
    assert "training[0]" in message
    assert "'x.png'" in message
    assert "out of range" in message
    assert "0 to 1" in message


@pytest.mark.parametrize("label", [None, "1", 1.0, True, [], [0, 1], [True], {}, float("nan")])
def test_a_label_that_is_no_integer_is_refused(tmp_path, label):
    entries = [{"image": "ok.png", "label": 0}, {"image": "x.png", "label": label}]
    path = write(tmp_path / "l.json", {"training": [], "validation": entries})
    assert "validation[1] ('x.png')" in refusal(load_datalist, path)


@pytest.mark.parametrize(
    "entry",
    [{}, {"label": 0}, {"image": "", "label": 0}, "x.png", None, {"image": 3}, {"image": "a\0b"}],
)
def test_an_entry_without_an_image_is_refused_by_position(tmp_path, entry):
    path = write(tmp_path / "l.json", {"training": [entry]})
    assert "training[0]" in refusal(load_datalist, path)


def test_a_patient_that_is_no_name_is_refused(tmp_path):
    entry = {"image": "x.png", "label": 0, "patient": ["a"]}
    assert "patient ['a']" in refusal(load_datalist, write(tmp_path / "l", {"training": [entry]}))


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "null", '{"training": {}}', "[" * 10**5])
def test_a_file_that_is_no_datalist_is_refused_by_name(tmp_path, content):
    assert "l.json" in refusal(load_datalist, write(tmp_path / "l.json", content))


def test_a_datalist_in_another_encoding_is_refused(tmp_path):
    (tmp_path / "l.json").write_bytes(b'{"training": "\xff"}')
    assert "no valid JSON" in refusal(load_datalist, tmp_path / "l.json")


def test_a_missing_datalist_is_refused_by_name(tmp_path):
    message = refusal(load_datalist, tmp_path / "gone.json")
    assert re.search(r"gone\.json.*No such file", message)
