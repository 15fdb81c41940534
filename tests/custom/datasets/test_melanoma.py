"""Tests of the form of the Melanoma Skin Cancer Dataset."""

import pytest
from PIL import Image

from medleak.custom.data.datalist import DataError
from medleak.custom.datasets.dataset import read
from medleak.custom.datasets.melanoma import SET


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4)).save(path)


@pytest.mark.parametrize("above", ["", "melanoma_cancer_dataset/"])
@pytest.mark.parametrize("halves", [("train/", "test/"), ("",)])
def test_its_halves_are_pooled_wherever_the_archive_was_unpacked(tmp_path, above, halves):
    for half in halves:
        for name in ("benign", "malignant"):
            picture(tmp_path / f"{above}{half}{name}" / "1.jpg")
    assert [i.label for i in read(SET, tmp_path)] == [0] * len(halves) + [1] * len(halves)


def test_benign_images_alone_are_refused(tmp_path):
    picture(tmp_path / "benign" / "1.jpg")
    with pytest.raises(DataError, match="malignant"):
        read(SET, tmp_path)
