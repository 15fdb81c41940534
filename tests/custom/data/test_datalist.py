"""Tests of medleak.custom.data.datalist."""

import json
import os
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from medleak.custom.data.datalist import (
    SECTIONS,
    DataError,
    Item,
    load_datalist,
    open_image,
    patient_of,
    read_folders,
    save_datalist,
    verify,
)


def picture(path, size=(9, 7), format="PNG", seed=0, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, size[::-1], dtype=np.uint8)
    Image.fromarray(pixels).save(path, format=format, **options)
    return path


def refusal(call, *args, **kwargs):
    """The message of the DataError that ``call`` raises: one line of what, why, what to do."""
    with pytest.raises(DataError) as caught:
        call(*args, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    assert re.search(r"\. [A-Z].*\.$", message)
    return message


@pytest.fixture
def two_classes(tmp_path):
    for name in ("b/00002_001.png", "b/00002_000.png", "a/x.png", "a/sub/00007_003.png"):
        picture(tmp_path / name)
    return tmp_path


def test_folders_give_sorted_items_with_labels_in_the_order_of_the_class_names(two_classes):
    items, names = read_folders(two_classes)
    assert names == ("a", "b")
    assert items == [
        Item("a/sub/00007_003.png", 0, "00007"),
        Item("a/x.png", 0, "a/x.png"),
        Item("b/00002_000.png", 1, "00002"),
        Item("b/00002_001.png", 1, "00002"),
    ]


def test_named_classes_set_order_and_leave_others_out(two_classes):
    picture(two_classes / "c/other.png")
    items, names = read_folders(two_classes, ["b", "a"])
    assert names == ("b", "a")
    assert {(item.image[0], item.label) for item in items} == {("b", 0), ("a", 1)}


@pytest.mark.parametrize("format", ["PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP"])
def test_an_image_is_known_by_its_content_whatever_its_suffix(two_classes, format):
    picture(two_classes / "a/scan.dat", format=format)
    picture(two_classes / "a/wrong.png", format=format)
    assert {"a/scan.dat", "a/wrong.png"} <= {item.image for item in read_folders(two_classes)[0]}


def test_hidden_files_and_files_that_do_not_claim_to_be_images_are_passed_over(two_classes):
    before = read_folders(two_classes)
    for name in (".DS_Store", "._x.png", "BM notes.txt", "labels.csv", ".cache/x.png"):
        (two_classes / "a" / name).parent.mkdir(exist_ok=True)
        (two_classes / "a" / name).write_text("BM is no bitmap")
    picture(two_classes / ".hidden/x.png")
    (two_classes / "README.md").write_text("no class")
    assert read_folders(two_classes) == before


@pytest.mark.parametrize(
    "content", [b"", b"patient,label\n", b"BM and more text", b"\x89PN", b"%PDF-1.7"]
)
def test_a_file_named_png_without_an_image_is_refused_by_name(two_classes, content):
    (two_classes / "a" / "fake.PNG").write_bytes(content)
    assert "fake.PNG" in refusal(read_folders, two_classes)


def test_a_pipe_named_png_is_refused_and_not_waited_for(two_classes):
    os.mkfifo(two_classes / "a" / "pipe.png")
    assert "not a regular file" in refusal(read_folders, two_classes)


def test_a_broken_link_named_png_is_refused_by_name(two_classes):
    (two_classes / "a" / "gone.png").symlink_to("nowhere.png")
    assert "gone.png" in refusal(read_folders, two_classes)


def test_a_folder_that_links_back_into_itself_is_refused(two_classes):
    (two_classes / "a" / "sub" / "loop").symlink_to(two_classes / "a", target_is_directory=True)
    assert "loop" in refusal(read_folders, two_classes)


@pytest.mark.parametrize("folder", [".", "a"])
def test_a_link_to_itself_is_refused_by_name(two_classes, folder):
    (two_classes / folder / "self").symlink_to("self")
    assert "self" in refusal(read_folders, two_classes)


def test_a_class_folder_may_be_a_link(two_classes, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    picture(elsewhere / "1_0.png")
    (two_classes / "c").symlink_to(elsewhere, target_is_directory=True)
    assert Item("c/1_0.png", 2, "1") in read_folders(two_classes)[0]


def test_a_missing_root_is_refused_by_name(tmp_path):
    assert "does not exist" in refusal(read_folders, tmp_path / "nowhere")


def test_a_file_as_root_is_refused(tmp_path):
    assert "is not a folder" in refusal(read_folders, picture(tmp_path / "x.png"))


def test_a_root_without_classes_is_refused(tmp_path):
    picture(tmp_path / "x.png")
    assert "no sub-folder" in refusal(read_folders, tmp_path)


def test_an_empty_class_is_refused_by_name(two_classes):
    (two_classes / "empty").mkdir()
    assert "'empty'" in refusal(read_folders, two_classes)


@pytest.mark.parametrize("classes", [["a", "nope"], ["a", "../a"], ["a", ""], ["a", "."]])
def test_a_class_without_a_folder_is_refused_with_those_there_are(two_classes, classes):
    message = refusal(read_folders, two_classes, classes)
    assert repr(classes[1]) in message
    assert "'a', 'b'" in message


def test_a_class_named_twice_is_refused(two_classes):
    assert "named twice" in refusal(read_folders, two_classes, ["a", "a"])


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


def test_verify_accepts_sound_images(two_classes):
    items, _ = read_folders(two_classes)
    verify(items, two_classes)
    assert open_image(two_classes / items[0].image).size == (9, 7)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP"])
def test_a_truncated_image_passes_as_a_name_but_not_verify(tmp_path, format):
    path = picture(tmp_path / "a/x.img", size=(64, 64), format=format)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    items, _ = read_folders(tmp_path)
    assert "x.img" in refusal(verify, items, tmp_path)


@pytest.mark.parametrize("where", [30, 60, 200])
def test_a_damaged_png_is_refused_by_name(tmp_path, where):
    path = picture(tmp_path / "x.png", size=(64, 64))
    content = bytearray(path.read_bytes())
    content[where] ^= 0xFF
    path.write_bytes(content)
    assert "x.png" in refusal(open_image, path)


def test_a_missing_image_is_refused_by_name(tmp_path):
    assert "does not exist" in refusal(verify, [Item("gone.png", 0, "p")], tmp_path)


def test_a_folder_as_image_is_refused(tmp_path):
    assert "cannot be read" in refusal(open_image, tmp_path)


@pytest.mark.parametrize("limit", [50, 20])
def test_an_image_beyond_pillows_limit_is_refused_not_warned_of(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    assert f"{limit} pixels" in refusal(open_image, picture(tmp_path / "bomb.png"))


def test_several_images_in_one_file_are_refused(tmp_path):
    frames = [Image.new("L", (4, 4), shade) for shade in (0, 255)]
    frames[0].save(tmp_path / "two.tiff", save_all=True, append_images=frames[1:])
    assert "2 frames" in refusal(open_image, tmp_path / "two.tiff")


@pytest.mark.parametrize("format", ["EPS", "PPM", "ICO"])
def test_formats_that_are_not_listed_are_never_decoded(tmp_path, format):
    Image.new("L", (16, 16)).save(tmp_path / "x.png", format=format)
    assert "holds no PNG" in refusal(open_image, tmp_path / "x.png")


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
