"""Tests of the few forms in which public sets come."""

import pytest
from PIL import Image

from medleak.custom.data.layouts import FormError, class_folders, halves, labelled, named_files


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4)).save(path)


def test_the_two_halves_of_a_set_by_hand():
    assert halves({"sick": "S"}, "train", "test", "set") == [
        {"sick": ("train/S", "test/S")},
        {"sick": ("S",)},
        {"sick": ("set/train/S", "set/test/S")},
        {"sick": ("set/S",)},
    ]
    assert len(halves({"sick": "S"}, "train", "test")) == 2


def test_the_first_layout_whose_folders_all_exist_is_taken(tmp_path):
    for folder in ("train/A", "train/B", "test/A", "A", "B"):
        picture(tmp_path / folder / "1.png")
    items = class_folders(tmp_path, halves({"a": "A", "b": "B"}, "train", "test"))
    assert [(i.image, i.label) for i in items] == [("A/1.png", 0), ("B/1.png", 1)]


def test_missing_folders_are_named(tmp_path):
    with pytest.raises(FormError, match="has no folder 'A' or 'B'"):
        class_folders(tmp_path, [{"a": ("A",), "b": ("B",)}])


def test_named_files_tell_their_patient_and_others_are_passed_over(tmp_path):
    for name in ("1/007_left.png", "008_right.png", "notes.png"):
        picture(tmp_path / name)
    items = named_files(tmp_path, r"(\d+)_(?:left|right)")
    assert {(i.image, i.label, i.patient) for i in items} == {
        ("1/007_left.png", 0, "007"),
        ("008_right.png", 0, "008"),
    }
    with pytest.raises(FormError, match="has no image with a name like"):
        named_files(tmp_path, "x")


def test_a_table_gives_each_image_its_label(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("id,kind\n1,no\n2.png,yes\n", encoding="utf-8-sig")
    for name in ("1.png", "a/2.png"):
        picture(tmp_path / "images" / name)
    settings = {"name": "id", "label": "kind", "values": {"no": 0, "yes": 1}}
    items = labelled(tmp_path / "images", table, **settings)
    assert {(i.image, i.label, i.patient) for i in items} == {
        ("1.png", 0, "1.png"),
        ("a/2.png", 1, "a/2.png"),
    }
    with pytest.raises(FormError, match="but no image"):
        labelled(tmp_path / "none", table, **settings) if (tmp_path / "none").mkdir() is None else 0
    with pytest.raises(FormError, match=r"has no readable gone\.csv"):
        labelled(tmp_path / "images", tmp_path / "gone.csv", **settings)


def test_a_name_with_two_labels_or_two_images_is_refused(tmp_path):
    table = tmp_path / "t.csv"
    settings = {"name": "id", "label": "kind", "values": {"no": 0, "yes": 1}}
    picture(tmp_path / "images" / "a" / "1.png")
    table.write_text("id,kind\n1,no\n1.png,no\n")
    assert len(labelled(tmp_path / "images", table, **settings)) == 1
    table.write_text("id,kind\n1,no\n1.png,yes\n")
    with pytest.raises(FormError, match=r"gives '1\.png' another label in line 3"):
        labelled(tmp_path / "images", table, **settings)
    table.write_text("id,kind\n1,no\n")
    picture(tmp_path / "images" / "b" / "1.png")
    with pytest.raises(FormError, match="two images called '1'"):
        labelled(tmp_path / "images", table, **settings)
