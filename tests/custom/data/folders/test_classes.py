"""Tests of medleak.custom.data.folders.classes."""

import os

import pytest
from tests.custom.data.pictures import picture, refusal

from medleak.custom.data.datalist import Item
from medleak.custom.data.folders.classes import read_folders
from medleak.custom.data.image_files import open_image
from medleak.custom.data.pixels.reading import read_image


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


def test_sound_images_that_were_listed_can_be_decoded(two_classes):
    items, _ = read_folders(two_classes)
    for item in items:
        assert read_image(two_classes / item.image).shape == (7, 9)
    assert open_image(two_classes / items[0].image).size == (9, 7)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP"])
def test_a_truncated_image_is_listed_by_its_name_and_refused_when_decoded(tmp_path, format):
    path = picture(tmp_path / "a/x.img", size=(64, 64), format=format)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    items, _ = read_folders(tmp_path)
    assert [item.image for item in items] == ["a/x.img"]
    assert "x.img" in refusal(read_image, path)
