"""Brain Tumor MRI Dataset, of MedPFL: four classes of slices."""

from pathlib import Path
from typing import Unpack

from medleak.custom.data.datalist import Item
from medleak.custom.data.image_files import Search
from medleak.custom.data.layouts import class_folders, halves
from medleak.custom.datasets.dataset import DataSet
from medleak.custom.sites.split import MEDPFL_SITES

_CLASSES = ("glioma", "meningioma", "notumor", "pituitary")
_LAYOUTS = halves({name: name for name in _CLASSES}, "Training", "Testing", "Brain-Tumor-MRI")


def _read(root: Path, **search: Unpack[Search]) -> list[Item]:
    return class_folders(root, _LAYOUTS, **search)


SET = DataSet(
    name="brain_tumor_mri",
    title="Brain Tumor MRI Dataset",
    use="MedPFL (7,022 images there, 7,023 on its page)",
    modality="brain_mri",
    classes=_CLASSES,
    channels=1,
    counts={"glioma": 1621, "meningioma": 1645, "notumor": 2000, "pituitary": 1757},
    source="https://www.kaggle.com/datasets/masoudnickparvar/brain-tumor-mri-dataset",
    licence="CC0 on its page; parts come from figshare (CC BY 4.0) and SARTAJ (unstated)",
    form="glioma/, meningioma/, notumor/ and pituitary/, below Training/ and Testing/ or not",
    patients="not published: each slice counts as one patient, though neighbours are in the set",
    read=_read,
    job="medpfl_fedsgd --data brain_mri",
    table=MEDPFL_SITES,
)
