"""Tests of the form of the COVID-19 Radiography Database."""

import pytest
from PIL import Image

from medleak.custom.data.datalist import DataError
from medleak.custom.datasets.covid19_radiography import SET
from medleak.custom.datasets.dataset import read


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4)).save(path)


def test_of_four_classes_two_are_read_and_no_mask(tmp_path):
    for folder in ("Normal", "COVID", "Lung_Opacity"):
        picture(tmp_path / folder / "images" / "1.png")
        picture(tmp_path / folder / "masks" / "1.png")
    items = read(SET, tmp_path)
    assert [(i.image, i.label) for i in items] == [
        ("Normal/images/1.png", 0),
        ("COVID/images/1.png", 1),
    ]


def test_one_class_alone_is_refused(tmp_path):
    picture(tmp_path / "Normal" / "images" / "1.png")
    with pytest.raises(DataError, match="COVID"):
        read(SET, tmp_path)
