"""Tests of medleak.custom.data.folders.names."""

import pytest

from medleak.custom.data.folders import names


@pytest.mark.parametrize(
    ("name", "part"),
    [
        *(("train", "train"), ("Training", "train"), ("train_set", "train"), ("Test Data", "test")),
        *(("val", "val"), ("validation", "val"), ("testing", "test"), ("trainingImages", "train")),
        *(("fold_1", "fold 1"), ("split2", "split 2")),
        *(("normal", None), ("test_positive", None), ("trained", None), ("grade_1", None)),
    ],
)
def test_a_part_of_a_split_is_told_by_its_name(name, part):
    found = names.part_of(name)
    assert found == (part if part is None else part.replace("split 2", "fold 2"))


def test_parts_behind_other_words_are_told_by_each_other():
    assert names.are_parts(["xray_covid_train", "xray_covid_test"])
    assert not names.are_parts(["positive_test", "negative_test"])
    assert not names.are_parts(["normal", "sick"])


@pytest.mark.parametrize("name", ["images", "Image", "jpg", "imagesTr", "scans"])
def test_folders_of_images_are_told(name):
    assert names.holds_images(name)
    assert not names.holds_masks(name)


@pytest.mark.parametrize("name", ["masks", "Mask", "labelsTr", "lung masks", "groundtruth", "GT"])
def test_folders_of_masks_are_told(name):
    assert names.holds_masks(name)


@pytest.mark.parametrize("name", ["normal", "label_1", "covid", "image_1", "masked"])
def test_classes_are_neither(name):
    assert not names.holds_masks(name)
    assert not names.holds_images(name)


@pytest.mark.parametrize(
    ("stem", "image"),
    [
        *(("a_mask", "a"), ("benign (1)_mask", "benign (1)"), ("benign (1)_mask_1", "benign (1)")),
        *(("x-seg", "x"), ("x_Segmentation", "x"), ("x", None), ("mask", None), ("unmask", None)),
    ],
)
def test_a_mask_beside_its_image_is_told(stem, image):
    assert names.masked_stem(stem) == image


@pytest.mark.parametrize(
    "name",
    [
        *("patient_7", "Patient0012", "sub-01", "case12", "00001234", "MRN-4711", "p00012"),
        *("1.2.826.0.1.3", "2020-01-31", "3f2a9c1de0", "study_5", "series1"),
    ],
)
def test_a_patients_name_is_told(name):
    assert names.names_patient(name)


@pytest.mark.parametrize(
    "name",
    [
        *("normal", "0", "1", "10", "grade_3", "class1", "stage2", "birads4", "COVID-19", "t1"),
        *("subtype1", "pathology_1", "covid19", "kl_grade_2", "pT2"),
    ],
)
def test_a_class_is_no_patient(name):
    assert not names.names_patient(name)


def test_what_is_left_out_is_a_name_or_a_pattern_of_one():
    for pattern in ("masks", "*_mask*", "a/masks/x_mask.png", "x_mask"):
        assert names.left_out("a/masks/x_mask.png", [pattern])
    assert not names.left_out("a/images/x.png", ["mask", "*_mask*", "ima"])


def test_a_path_is_left_out_by_its_name_below_the_root(tmp_path):
    omit = names.leaving_out(tmp_path / "masks", ["masks", "a/x*"])
    assert omit(tmp_path / "masks" / "a" / "x1.png")
    assert not omit(tmp_path / "masks" / "b" / "x1.png")
    assert not names.leaving_out(tmp_path, [])(tmp_path / "masks")
