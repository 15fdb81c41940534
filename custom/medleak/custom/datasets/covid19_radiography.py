"""COVID-19 Radiography Database, TMI's data set A: chest X-rays, normal against COVID-19."""

from pathlib import Path
from typing import Unpack

from medleak.custom.data.datalist import Item
from medleak.custom.data.image_files import Search
from medleak.custom.data.layouts import class_folders
from medleak.custom.datasets.dataset import DataSet

_FOLDERS = {"normal": "Normal", "covid": "COVID"}  # label 0 is TMI's high-risk image: a normal one


def _read(root: Path, **search: Unpack[Search]) -> list[Item]:
    # Since version 4 each class has images/ beside masks/ of the lungs.
    above = ("", "COVID-19_Radiography_Dataset/", "COVID-19 Radiography Database/")
    return class_folders(
        root,
        [
            {name: (f"{a}{folder}{below}",) for name, folder in _FOLDERS.items()}
            for below in ("/images", "")
            for a in above
        ],
        **search,
    )


SET = DataSet(
    name="covid19_radiography",
    title="COVID-19 Radiography Database",
    use="TMI data set A",
    modality="cxr",
    classes=tuple(_FOLDERS),
    channels=1,
    counts={"normal": 10192, "covid": 3616},
    source="https://www.kaggle.com/datasets/tawsifurrahman/covid19-radiography-database",
    licence="data files © their original authors; academic and scientific use",
    form="Normal/images/*.png and COVID/images/*.png (Lung_Opacity, Viral Pneumonia: not used)",
    patients="not published: each image counts as one patient",
    read=_read,
    job="cxr_clean --classes normal covid",
    test=1382,
)
