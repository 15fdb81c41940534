"""COVID-19 Image Dataset, of MedPFL: 317 chest X-rays of three classes."""

from pathlib import Path
from typing import Unpack

from medleak.custom.data.datalist import Item
from medleak.custom.data.image_files import Search
from medleak.custom.data.layouts import class_folders, halves
from medleak.custom.datasets.dataset import DataSet
from medleak.custom.sites.split import MEDPFL_SITES

_LAYOUTS = [
    *halves(
        {"covid": "Covid", "normal": "Normal", "viral_pneumonia": "Viral Pneumonia"},
        "train",
        "test",
        "Covid19-dataset",
    ),
    {"covid": ("covid",), "normal": ("normal",), "viral_pneumonia": ("pneumonia",)},
]


def _read(root: Path, **search: Unpack[Search]) -> list[Item]:
    return class_folders(root, _LAYOUTS, **search)


SET = DataSet(
    name="covid19_xray",
    title="Covid-19 Image Dataset",
    use="MedPFL",
    modality="cxr",
    classes=("covid", "normal", "viral_pneumonia"),
    channels=1,
    counts={"covid": 137, "normal": 90, "viral_pneumonia": 90},
    source="https://www.kaggle.com/datasets/pranavraikokte/covid19-image-dataset",
    licence="CC BY-SA 4.0",
    form="Covid/, Normal/ and Viral Pneumonia/, below train/ and test/ (pooled) or by themselves",
    patients="NIH-like names '<patient>_<visit>', else each image counts as one patient",
    read=_read,
    job="medpfl_fedsgd --data cxr --classes covid normal viral_pneumonia",
    table=MEDPFL_SITES,
)
