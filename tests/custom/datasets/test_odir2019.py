"""Tests of the form of ODIR-2019."""

import pytest
from PIL import Image

from medleak.custom.data.datalist import DataError
from medleak.custom.datasets.dataset import read
from medleak.custom.datasets.odir2019 import SET


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4)).save(path)


def test_both_eyes_belong_to_one_patient(tmp_path):
    for name in ("4_left", "4_right", "17_left"):
        picture(tmp_path / "Training" / f"{name}.jpg")
    items = read(SET, tmp_path)
    assert sorted(i.patient for i in items) == ["17", "4", "4"]
    assert {i.label for i in items} == {0}


def test_images_of_other_names_are_not_this_set(tmp_path):
    picture(tmp_path / "left.jpg")
    with pytest.raises(DataError, match="has no image with a name like"):
        read(SET, tmp_path)
