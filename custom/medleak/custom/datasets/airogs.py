"""Rotterdam EyePACS AIROGS train set, TMI's data set B: fundus, referable glaucoma or not."""

from pathlib import Path
from typing import Unpack

from medleak.custom.data.datalist import Item
from medleak.custom.data.image_files import Search
from medleak.custom.data.layouts import FormError, labelled
from medleak.custom.datasets.dataset import DataSet

_TABLE = "train_labels.csv"


def _read(root: Path, **search: Unpack[Search]) -> list[Item]:
    for table in (root / _TABLE, root.parent / _TABLE):
        if table.is_file():
            return labelled(
                root,
                table,
                name="challenge_id",
                label="class",
                values={"NRG": 0, "RG": 1},
                **search,
            )
    raise FormError(f"has no {_TABLE}")


SET = DataSet(
    name="airogs",
    title="Rotterdam EyePACS AIROGS train set",
    use="TMI data set B",
    modality="fundus",
    classes=("normal", "glaucoma"),
    channels=3,
    counts={"normal": 98172, "glaucoma": 3270},
    source="https://doi.org/10.5281/zenodo.5793241 (access on request)",
    licence="CC BY-NC-ND 4.0",
    form="train_labels.csv (challenge_id, class: NRG or RG) and the folders 0 to 5 of TRAIN*.jpg",
    patients="not published: each image counts as one patient",
    read=_read,
    job="fundus_clean",
    test=10145,
)
