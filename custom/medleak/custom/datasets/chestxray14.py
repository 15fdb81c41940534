"""NIH ChestX-ray14, the source of TMI's prior for chest X-rays."""

from pathlib import Path
from typing import Unpack

from medleak.custom.data.datalist import Item
from medleak.custom.data.image_files import Search
from medleak.custom.data.layouts import named_files
from medleak.custom.datasets.dataset import DataSet


def _read(root: Path, **search: Unpack[Search]) -> list[Item]:
    return named_files(root, r"(\d{8})_\d{3}", **search)


SET = DataSet(
    name="chestxray14",
    title="NIH ChestX-ray14",
    use="TMI's prior for data set A",
    modality="cxr",
    classes=("public",),
    channels=1,
    counts={"public": 112120},
    source="https://nihcc.app.box.com/v/ChestXray-NIHCC",
    licence="no restriction; name the NIH Clinical Center, the link and Wang et al. 2017",
    form="images_*/images/<patient>_<visit>.png, at any depth",
    patients="the eight digits before '_' in the file name",
    read=_read,
    prior=True,
)
