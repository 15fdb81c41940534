"""All sets that medleak knows by name."""

from typing import Any

from medleak.custom import phantoms
from medleak.custom.data.datalist import DataError
from medleak.custom.datasets import (
    airogs,
    brain_tumor_mri,
    chestxray14,
    cifar10,
    covid19_radiography,
    covid19_xray,
    medmnist,
    melanoma,
    odir2019,
)
from medleak.custom.datasets.dataset import DataSet

DATA_SETS = {
    module.SET.name: module.SET
    for module in (
        covid19_radiography,
        airogs,
        chestxray14,
        odir2019,
        melanoma,
        covid19_xray,
        brain_tumor_mri,
        cifar10,
    )
}


def find(name: str) -> DataSet:
    """The set called ``name``.

    Raises:
        DataError: There is none.
    """
    if name not in DATA_SETS:
        raise DataError(
            f"There is no data set {name!r}: its form is unknown. Use one of "
            f"{', '.join(DATA_SETS)}, or `medleak data folder` for a folder of your own."
        )
    return DATA_SETS[name]


def overview() -> list[dict[str, Any]]:
    """One row a set of images that there is a command for: what, where from, which licence."""
    rows = [
        {
            "name": s.name,
            "command": f"medleak data prepare {s.name} --root DIR",
            "use": s.use,
            "modality": s.modality,
            "classes": list(s.classes),
            "images": sum(s.counts.values()),
            "licence": s.licence,
            "source": s.source,
            "form": s.form,
            "patients": s.patients,
        }
        for s in DATA_SETS.values()
    ]
    for name, subset in medmnist.SUBSETS.items():
        use = f"{subset.title}, downloads by itself"
        rows.append(
            _made(name, f"medleak data medmnist {name}", use, subset.modality, subset.classes)
            | {"licence": subset.licence, "source": medmnist.SOURCE}
        )
    for name, modality in phantoms.MODALITIES.items():
        use = "phantoms, of nobody"
        rows.append(
            _made(
                f"synthetic {name}", f"medleak data synthetic {name}", use, name, modality.classes
            )
            | {"licence": "Apache-2.0", "source": "drawn by medleak"}
        )
    return rows


def _made(
    name: str, command: str, use: str, modality: str, classes: tuple[str, ...]
) -> dict[str, Any]:
    """A row of a set that is written anew as one folder a class."""
    return {
        "name": name,
        "command": command,
        "use": use,
        "modality": modality,
        "classes": list(classes),
        "images": None,
        "form": "one folder a class",
        "patients": "numbers in the file names",
    }
