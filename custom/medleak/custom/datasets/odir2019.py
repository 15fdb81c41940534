"""ODIR-2019 (ODIR-5K), the source of TMI's prior for fundus images."""

from pathlib import Path
from typing import Unpack

from medleak.custom.data.datalist import Item
from medleak.custom.data.image_files import Search
from medleak.custom.data.layouts import named_files
from medleak.custom.datasets.dataset import DataSet


def _read(root: Path, **search: Unpack[Search]) -> list[Item]:
    return named_files(root, r"(\d+)_(?:left|right)", **search)


SET = DataSet(
    name="odir2019",
    title="ODIR-2019 training images",
    use="TMI's prior for data set B",
    modality="fundus",
    classes=("public",),
    channels=3,
    counts={"public": 7000},
    source="https://odir2019.grand-challenge.org/dataset/ (registration)",
    licence="as the challenge grants at registration: research, no redistribution",
    form="<patient>_left.jpg and <patient>_right.jpg, at any depth",
    patients="the number before '_left' or '_right' in the file name",
    read=_read,
    prior=True,
)
