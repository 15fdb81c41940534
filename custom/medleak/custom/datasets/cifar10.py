"""CIFAR-10, of MedPFL: the generic images beside the medical ones."""

from pathlib import Path
from typing import Unpack

import numpy as np

from medleak.custom.data.datalist import DataError, Item
from medleak.custom.data.image_files import Search
from medleak.custom.data.images import save_image
from medleak.custom.data.layouts import class_folders
from medleak.custom.datasets.dataset import DataSet
from medleak.custom.sites.split import MEDPFL_SITES

_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
_BINARY = "cifar-10-batches-bin"
_RECORD = 1 + 3 * 32 * 32  # a label, then the planes of red, green and blue


def _read(root: Path, **search: Unpack[Search]) -> list[Item]:
    return class_folders(root, [{name: (name,) for name in _CLASSES}], **search)


def unpack(root: Path, out: Path) -> Path:
    """The images of the binary batches below ``root`` as PNG in a folder a class below ``out``.

    Returns:
        ``out``, or ``root`` where there are no batches.

    Raises:
        DataError: A batch is damaged, or only the version for Python is there: a pickle can run
            any program when it is read.
    """
    batches = sorted([*root.glob("*_batch*.bin"), *root.glob(f"{_BINARY}/*_batch*.bin")])
    if not batches and any(root.glob("**/data_batch_1")):
        raise DataError(
            f"Root {str(root)!r} holds CIFAR-10 as pickles, which can run any program when they "
            "are read. Get the binary version (cifar-10-binary.tar.gz) from the same page."
        )
    for batch in batches:
        content = np.fromfile(batch, np.uint8)
        if content.size % _RECORD or (records := content.reshape(-1, _RECORD))[:, 0].max() > 9:
            raise DataError(
                f"Batch {batch.name!r} is damaged: its images would be shifted. Download it anew."
            )
        for k, record in enumerate(records):
            pixels = record[1:].reshape(3, 32, 32).transpose(1, 2, 0)
            save_image(out / _CLASSES[record[0]] / f"{batch.stem}_{k:05d}.png", pixels)
    return out if batches else root


SET = DataSet(
    name="cifar10",
    title="CIFAR-10",
    use="MedPFL, beside the medical sets",
    modality="natural",
    classes=_CLASSES,
    channels=3,
    counts=dict.fromkeys(_CLASSES, 6000),
    source="https://www.cs.toronto.edu/~kriz/cifar.html (binary version)",
    licence="none stated; cite Krizhevsky 2009",
    form="data_batch_1.bin … test_batch.bin, or one folder of images a class (airplane, …)",
    patients="there are none: each image counts as one",
    read=_read,
    job="medpfl_fedsgd --data cifar10",
    table=MEDPFL_SITES,
    unpack=unpack,
)
