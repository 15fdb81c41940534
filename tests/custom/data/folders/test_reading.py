"""Tests of medleak.custom.data.folders.reading: every arrangement, with its right labels."""

import pytest
from PIL import Image

from medleak.custom.data.data_error import DataError
from medleak.custom.data.datalist import Item
from medleak.custom.data.folders.reading import Told, read_set


def put(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(root / file)


def labels(found):
    return {item.image: found.classes[item.label] for item in found.items}


def test_the_parts_of_a_split_are_pooled_by_class(tmp_path):
    put(tmp_path, "train/a/7_1.png", "train/b/1.png", "val/a/7_2.png", "test/b/3.png")
    put(tmp_path, "train/loose.png", "other/x.png", "other/deep/y.png")
    (tmp_path / "other" / "x.png").rename(tmp_path / "other" / "IM1")
    (tmp_path / "train" / "a" / "drawing.svg").write_text("<svg/>")
    (tmp_path / "readme.txt").touch()
    found = read_set(tmp_path, Told(layout="parts"))
    assert labels(found) == {
        "train/a/7_1.png": "a",
        "val/a/7_2.png": "a",
        "train/b/1.png": "b",
        "test/b/3.png": "b",
    }
    patients = {item.image: item.patient for item in found.items}
    assert patients["train/a/7_1.png"] == patients["val/a/7_2.png"] == "7"
    assert patients["train/b/1.png"] == "train/b/1.png"
    assert found.left_out == {
        "images beside the folders": 2,
        "images in other folders": 1,
        "no image (.svg)": 1,
        "no image (.txt)": 1,
    }


def test_equal_names_in_two_parts_are_two_patients(tmp_path):
    put(tmp_path, "train/a/1.png", "test/a/1.png")
    found = read_set(tmp_path, Told(layout="parts"))
    assert len({item.patient for item in found.items}) == 2


def test_parts_with_masks_and_classes_with_masks_are_read(tmp_path):
    put(tmp_path / "p", *(f"{p}/{k}/1.png" for p in ("train", "val") for k in ("images", "masks")))
    found = read_set(tmp_path / "p", Told(layout="parts", masks=True))
    assert [(i.image, i.mask) for i in found.items] == [
        ("train/images/1.png", "train/masks/1.png"),
        ("val/images/1.png", "val/masks/1.png"),
    ]
    put(tmp_path / "c", *(f"{c}/{k}/1.png" for c in ("a", "b") for k in ("images", "masks")))
    put(tmp_path / "c", "b/masks/2.png")
    found = read_set(tmp_path / "c", Told(masks=True))
    assert found.classes == ("a", "b")
    assert [(i.image, i.label, i.mask) for i in found.items] == [
        ("a/images/1.png", 0, "a/masks/1.png"),
        ("b/images/1.png", 1, "b/masks/1.png"),
    ]
    assert found.left_out == {"masks without an image": 1}


@pytest.mark.parametrize(
    "files",
    [
        ["train/images/1.png", "train/masks/1.png", "val/images/1.png", "val/masks/1.png"],
        ["images/train/1.png", "images/val/2.png", "masks/train/1.png", "masks/val/2.png"],
    ],
)
def test_parts_are_not_taken_for_classes_with_masks(tmp_path, files):
    put(tmp_path, *files)
    with pytest.raises(DataError, match="parts of a split"):
        read_set(tmp_path, Told(masks=True))


def test_a_class_can_be_read_without_its_masks(tmp_path):
    put(tmp_path, *(f"{c}/{k}/1.png" for c in ("a", "b") for k in ("images", "masks")))
    found = read_set(tmp_path, Told(leave_out=["masks"]))
    assert labels(found) == {"a/images/1.png": "a", "b/images/1.png": "b"}
    assert found.left_out == {"left out by --leave-out": 2}


def test_masks_beside_images_can_be_left_out(tmp_path):
    put(tmp_path, "a/1.png", "a/1_mask.png", "b/2.png", "b/2_mask.png")
    assert len(read_set(tmp_path, Told(leave_out=["*_mask*"])).items) == 2


@pytest.mark.parametrize(
    ("told", "good"),
    [
        ({}, "{c}/{k}.png"),
        ({"layout": "parts"}, "train/{c}/{k}.png"),
        ({"masks": True}, "images/{c}/{k}.png"),
        ({"masks": True}, "{c}/images/{k}.png"),
        ({"masks": True, "layout": "parts"}, "train/images/{c}/{k}.png"),
        ({"layout": "names"}, "{c}_{k}.png"),
        ({"labels": "labels.csv"}, "{c}{k}.png"),
    ],
)
def test_what_is_left_out_is_not_looked_at(tmp_path, told, good):
    sound = [good.format(c=c, k=k) for c in ("a", "b") for k in (1, 2)]
    put(tmp_path, *sound)
    if "masks" in told:
        put(tmp_path, *(name.replace("images", "masks") for name in sound))
    if "labels" in told:
        rows = "".join(f"{c}{k},{c}\n" for c in ("a", "b") for k in (1, 2))
        (tmp_path / "labels.csv").write_text("image,label\n" + rows)
        told = {"labels": tmp_path / "labels.csv"}
    for folder in {(tmp_path / name).parent for name in sound} | {tmp_path}:
        (folder / "old").mkdir()
        (folder / "old" / "broken.png").write_bytes(b"")
        (folder / "old" / "x.nii").write_bytes(b"")
        (folder / "old" / "gone").symlink_to(folder / "nowhere")
        (folder / "old_1.png").write_bytes(b"no image")
        (folder / "old_link").symlink_to(folder / "nowhere")
    (tmp_path / "old" / "train").mkdir()
    found = read_set(tmp_path, Told(leave_out=["old*"], **told))
    assert {item.image for item in found.items} == set(sound)
    # os.walk counts links that lead nowhere as files.
    folders = len({(tmp_path / name).parent for name in sound} | {tmp_path})
    assert found.left_out["left out by --leave-out"] == 5 * folders
    with pytest.raises(DataError):
        read_set(tmp_path, Told(**told))


def test_an_image_that_is_left_out_by_its_path_needs_no_mask_and_costs_no_other_part(tmp_path):
    put(tmp_path, "images/1.png", "images/2.png", "masks/1.png")
    found = read_set(tmp_path, Told(masks=True, leave_out=["images/2.png"]))
    assert [item.image for item in found.items] == ["images/1.png"]
    assert found.left_out == {"left out by --leave-out": 1}
    put(tmp_path / "s", "train/a/1.png", "train/b/1.png", "test/a/2.png", "test/b/2.png")
    found = read_set(tmp_path / "s", Told(layout="parts", leave_out=["test/b"]))
    assert {item.image for item in found.items} == {
        "train/a/1.png",
        "train/b/1.png",
        "test/a/2.png",
    }


def test_file_names_say_the_class_up_to_their_number(tmp_path):
    put(tmp_path, *("normal_1.png", "normal_2.png", "viral-3.png", "viral-4.png"))
    put(tmp_path, "0_0001.png", "0_0002.png", "x (1).png", "x (2).png")
    found = read_set(tmp_path, Told(layout="names"))
    assert found.classes == ("0", "normal", "viral", "x")
    assert labels(found)["viral-3.png"] == "viral"
    assert labels(found)["0_0002.png"] == "0"
    assert len({item.patient for item in found.items}) == 8
    assert found.patients == "each file one"


@pytest.mark.parametrize("files", [["0001.png", "0002.png"], ["a.png", "b.png"], ["a_1.png"] * 2])
def test_file_names_that_say_no_class_are_refused(tmp_path, files):
    put(tmp_path, *files)
    with pytest.raises(DataError, match=r"--labels FILE"):
        read_set(tmp_path, Told(layout="names"))


def test_a_name_with_a_patient_in_it_says_no_class(tmp_path):
    put(tmp_path, *(f"normal_{p:04d}_{v}.png" for p in range(3) for v in range(2)))
    with pytest.raises(DataError, match="no name like class_0001"):
        read_set(tmp_path, Told(layout="names"))


def test_a_table_says_class_and_patient(tmp_path):
    put(tmp_path, "images/1.png", "images/2.png", "images/3.png", "images/4.png")
    (tmp_path / "labels.csv").write_text("image,label,patient\n1.png,x,A\n2,y,A\n3,x,B\n9,x,C\n")
    found = read_set(tmp_path, Told(labels=tmp_path / "labels.csv"))
    assert found.items == [
        Item("images/1.png", 0, "A"),
        Item("images/2.png", 1, "A"),
        Item("images/3.png", 0, "B"),
    ]
    assert found.left_out == {
        "images in no row of the table": 1,
        "rows of the table without an image": 1,
        "the table itself": 1,
    }
    only = read_set(tmp_path, Told(labels=tmp_path / "labels.csv", classes=["y"]))
    assert only.left_out["not of --classes"] == 2


def test_patient_folders_are_patients_where_that_is_said(tmp_path):
    put(tmp_path, "a/ann/1.png", "a/ann/2.png", "a/bob/1.png", "b/ann/1.png")
    with pytest.raises(DataError, match="--patients folder if the sub-folders are patients"):
        read_set(tmp_path, Told())
    found = read_set(tmp_path, Told(patients="folder"))
    assert [item.patient for item in found.items] == ["ann", "ann", "bob", "ann"]
    found = read_set(tmp_path, Told(patients="file", layout="classes"))
    assert len({item.patient for item in found.items}) == 4


def test_folders_of_patients_get_their_class_from_a_table(tmp_path):
    put(tmp_path, "p1/1.png", "p1/2.png", "p2/3.png")
    (tmp_path / "t.csv").write_text("image,label\n1.png,x\n2.png,x\n3.png,y\n")
    found = read_set(tmp_path, Told(labels=tmp_path / "t.csv", patients="folder"))
    assert [(i.label, i.patient) for i in found.items] == [(0, "p1"), (0, "p1"), (1, "p2")]


def test_numbers_are_classes_in_the_order_of_numbers(tmp_path):
    put(tmp_path, *(f"train/{k}/1.png" for k in (10, 2, 1)))
    assert read_set(tmp_path, Told(layout="parts")).classes == ("1", "2", "10")


@pytest.mark.parametrize(
    "told",
    [
        {"masks": True, "layout": "names"},
        {"columns": {"image": "a"}},
        {"patients": "file", "pattern": "x"},
        {"layout": "parts"},
    ],
)
def test_what_contradicts_itself_or_the_folder_is_refused(tmp_path, told):
    put(tmp_path, "a/1.png")
    with pytest.raises(DataError):
        read_set(tmp_path, Told(**told))
    with pytest.raises(DataError, match="does not exist"):
        read_set(tmp_path / "nowhere", Told(layout="parts"))


def test_it_is_said_how_many_images_tell_no_patient(tmp_path):
    put(tmp_path, "a/7_1.png", "a/7_2.png", "b/ISIC_1.png")
    how = read_set(tmp_path, Told()).patients
    assert how == "by file name; 1 of 3 tell none and count as one each"
    (tmp_path / "b" / "ISIC_1.png").rename(tmp_path / "b" / "8_1.png")
    assert read_set(tmp_path, Told()).patients == "by file name"
    assert read_set(tmp_path, Told(patients="file")).patients == "each file one"
