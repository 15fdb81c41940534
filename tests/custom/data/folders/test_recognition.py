"""Tests of medleak.custom.data.folders.recognition, by way of what reads folders."""

import pytest
from PIL import Image

from medleak.custom.data.data_error import DataError
from medleak.custom.data.folders.classes import read_folders
from medleak.custom.data.folders.recognition import (
    refuse_masks,
    refuse_other_layouts,
    refuse_patient_folders,
)


def put(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(root / file)


@pytest.mark.parametrize(
    ("files", "give"),
    [
        (["train/a/1.png", "train/b/1.png", "test/a/2.png", "test/b/2.png"], "--layout parts;"),
        (["Train/a/1.png", "Val/b/1.png"], "--layout parts;"),
        (["x_train/a/1.png", "x_test/a/2.png"], "--layout parts;"),
        (["train/images/1.png", "train/masks/1.png", "val/images/2.png"], "--layout parts --masks"),
        (["train/1.png", "test/2.png"], "--labels FILE"),
        (["test/1.png", "normal/2.png", "sick/3.png"], "--layout classes"),
        (["images/1.png", "masks/1.png"], "--masks (folders images/ and masks/)"),
        (["imagesTr/1.png", "labelsTr/1.png"], "--masks"),
        (["images/a/1.png", "images/b/1.png"], "images;"),
        (["images/1.png"], "--layout names"),
        (["normal/1.png", "sick/1.png", "masks/1.png"], "--leave-out masks"),
        (["a/images/1.png", "a/masks/1.png", "b/images/2.png", "b/masks/2.png"], "--masks"),
        (["a/images/1.png", "a/lung masks/1.png", "b/images/2.png"], "--leave-out lung masks"),
        (["a/left/1_1.png", "b/left/2_1.png"], "--layout classes if they are"),
        (["patient_1/1.png", "patient_2/1.png"], "--labels FILE with --patients folder"),
        (["1.2.3.4.5/1.png", "1.2.3.4.6/1.png"], "--labels FILE with --patients folder"),
        ([f"Person{chr(65 + k)}x/1.png" for k in range(12)], "--labels FILE"),
        (["normal/1.png", "Normal/1.png"], "Join the folders"),
        (["a/1.png", "a/1_mask.png", "b/2.png"], "--leave-out '*_mask*'"),
        (["a/benign (1).png", "a/benign (1)_mask_1.png", "b/2.png"], "--leave-out '*_mask"),
        (["a/ann/x.png", "a/bob/y.png", "b/carl/z.png"], "--patients folder"),
    ],
)
def test_another_arrangement_is_refused_with_what_to_give(tmp_path, files, give):
    put(tmp_path, *files)
    with pytest.raises(DataError) as caught:
        read_folders(tmp_path)
    assert give in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "files",
    [
        ["normal/1.png", "sick/2.png"],
        ["0/1.png", "1/2.png", "10/3.png"],
        ["grade_0/1.png", "grade_1/2.png"],
        ["COVID/images/1.png", "Normal/images/2.png"],
        ["a/x/0007_001.png", "b/y/0008_001.png"],
    ],
)
def test_one_folder_a_class_is_read(tmp_path, files):
    put(tmp_path, *files)
    assert len(read_folders(tmp_path)[0]) == len(files)


def test_what_the_user_says_is_not_guessed(tmp_path):
    put(tmp_path, "train/a/1.png", "test/a/2.png", "train/a/1_mask.png")
    items, classes = read_folders(tmp_path, told=True, patients_told=True)
    assert classes == ("test", "train")
    assert len(items) == 3


def test_classes_that_are_named_are_believed_and_what_lies_in_them_is_not(tmp_path):
    put(tmp_path, "train/1.png", "test/2.png")
    refuse_other_layouts(tmp_path, ["train", "test"], given=True)
    put(tmp_path, "train/a/1.png", "test/a/2.png")
    with pytest.raises(DataError, match="have the same sub-folders"):
        refuse_other_layouts(tmp_path, ["train", "test"], given=True)
    refuse_other_layouts(
        tmp_path, ["train", "test"], given=True, leave_out=lambda path: path.name == "a"
    )


def test_a_table_beside_the_images_is_named(tmp_path):
    put(tmp_path, "images/1.png")
    (tmp_path / "labels.csv").touch()
    with pytest.raises(DataError, match=r"--labels .*labels\.csv"):
        read_folders(tmp_path)


def test_a_decathlon_set_goes_to_its_own_command(tmp_path):
    put(tmp_path, "imagesTr/1.png", "labelsTr/1.png")
    (tmp_path / "dataset.json").touch()
    with pytest.raises(DataError, match=r"medleak data check .*dataset\.json"):
        read_folders(tmp_path)


def test_masks_need_their_image_beside_them(tmp_path):
    refuse_masks(tmp_path, ["a/x_mask.png", "a/y.png", "b/x.png"])
    with pytest.raises(DataError, match="1 files are masks"):
        refuse_masks(tmp_path, ["a/x_mask.png", "a/x.png"])


def test_one_sub_folder_is_no_patient(tmp_path):
    one, two = ["a/jpg2/1.png", "a/jpg2/2.png"], ["a/jpg2/1.png", "a/other/2.png"]
    refuse_patient_folders(tmp_path, one, one)
    with pytest.raises(DataError, match="if a sub-folder is a patient"):
        refuse_patient_folders(tmp_path, two, two)


def test_sub_folders_are_no_patients_where_file_names_tell_them(tmp_path):
    images = ["a/p/1_1.png", "a/q/2_1.png"]
    refuse_patient_folders(tmp_path, images, ["1", "2"])
    with pytest.raises(DataError, match="no file name in them tells a patient"):
        refuse_patient_folders(tmp_path, images, images)
