"""Tests of the form of the Brain Tumor MRI Dataset."""

import pytest
from PIL import Image

from medleak.custom.data.datalist import DataError
from medleak.custom.datasets.brain_tumor_mri import SET
from medleak.custom.datasets.dataset import read


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4)).save(path)


def test_training_and_testing_are_pooled_and_labels_are_in_the_order_of_names(tmp_path):
    for half in ("Training", "Testing"):
        for name in SET.classes:
            picture(tmp_path / half / name / f"{half}.jpg")
    items = read(SET, tmp_path)
    assert [i.label for i in items] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert all(i.image.split("/")[1] == SET.classes[i.label] for i in items)


def test_without_the_class_of_no_tumour_the_folder_is_refused(tmp_path):
    for name in ("glioma", "meningioma", "pituitary"):
        picture(tmp_path / name / "1.jpg")
    with pytest.raises(DataError, match="notumor"):
        read(SET, tmp_path)
