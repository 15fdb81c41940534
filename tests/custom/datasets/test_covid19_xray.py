"""Tests of the forms of the COVID-19 Image Dataset."""

import pytest
from PIL import Image

from medleak.custom.data.datalist import DataError
from medleak.custom.datasets.covid19_xray import SET
from medleak.custom.datasets.dataset import read


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4)).save(path)


@pytest.mark.parametrize(
    "folders",
    [
        ("train/Covid", "train/Normal", "train/Viral Pneumonia"),
        ("Covid", "Normal", "Viral Pneumonia"),
        ("covid", "normal", "pneumonia"),
    ],
)
def test_classes_are_told_by_folder_in_every_form(tmp_path, folders):
    for folder in folders:
        picture(tmp_path / folder / "1.png")
        picture(tmp_path / folder.replace("train", "test") / "2.png")
    items = read(SET, tmp_path)
    assert [i.label for i in items] == [0, 0, 1, 1, 2, 2]
    assert len({i.patient for i in items}) == 6


def test_two_of_three_classes_are_refused(tmp_path):
    for folder in ("covid", "normal"):
        picture(tmp_path / folder / "1.png")
    with pytest.raises(DataError, match="it is no covid19_xray"):
        read(SET, tmp_path)
