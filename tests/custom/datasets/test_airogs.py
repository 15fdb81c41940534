"""Tests of the form of AIROGS: a table of labels beside folders of images."""

import numpy as np
import pytest
from PIL import Image

from medleak.custom.data.datalist import DataError
from medleak.custom.datasets import airogs
from medleak.custom.datasets.dataset import read


def picture(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def airogs_form(root):
    rows = ["challenge_id,class"]
    for k in range(6):
        picture(root / str(k % 2) / f"TRAIN{k:06d}.jpg", k)
        rows.append(f"TRAIN{k:06d},{'RG' if k < 2 else 'NRG'}")
    (root / "train_labels.csv").write_text("\n".join(rows) + "\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("challenge_id,class\nTRAIN000000,GR\n", "label 'GR' in line 2, which is none of NRG, RG"),
        ("id,class\nTRAIN000000,RG\n", "without the columns"),
        ("challenge_id,class\nTRAIN000001,RG\n", "without a row"),
        ("", "without a row"),
    ],
)
def test_a_table_of_labels_that_does_not_fit_is_refused(tmp_path, content, message):
    picture(tmp_path / "0" / "TRAIN000000.jpg")
    (tmp_path / "train_labels.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        read(airogs.SET, tmp_path)


def test_the_table_of_labels_may_lie_beside_the_folder_of_images(tmp_path):
    airogs_form(tmp_path / "images")
    (tmp_path / "images" / "train_labels.csv").rename(tmp_path / "train_labels.csv")
    assert len(read(airogs.SET, tmp_path / "images")) == 6
