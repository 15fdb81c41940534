"""Melanoma Skin Cancer Dataset of 10000 Images, of MedPFL: dermoscopy."""

from pathlib import Path
from typing import Unpack

from medleak.custom.data.datalist import Item
from medleak.custom.data.image_files import Search
from medleak.custom.data.layouts import class_folders, halves
from medleak.custom.datasets.dataset import DataSet
from medleak.custom.sites.split import MEDPFL_SITES

_LAYOUTS = halves(
    {"benign": "benign", "malignant": "malignant"}, "train", "test", "melanoma_cancer_dataset"
)


def _read(root: Path, **search: Unpack[Search]) -> list[Item]:
    return class_folders(root, _LAYOUTS, **search)


SET = DataSet(
    name="melanoma",
    title="Melanoma Skin Cancer Dataset of 10000 Images",
    use="MedPFL (10,000 images there, 10,605 on its page)",
    modality="dermoscopy",
    classes=("benign", "malignant"),
    channels=3,
    counts={"benign": 5500, "malignant": 5105},
    source=(
        "https://www.kaggle.com/datasets/hasnainjaved/melanoma-skin-cancer-dataset-of-10000-images"
    ),
    licence="CC0 on its page; the images come from the ISIC archive (CC BY-NC 4.0 or CC0)",
    form="benign/ and malignant/, below train/ and test/ (pooled and split anew) or by themselves",
    patients="not published: each image counts as one patient",
    read=_read,
    job="medpfl_fedsgd --data melanoma",
    table=MEDPFL_SITES,
)
