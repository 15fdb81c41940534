"""MedMNIST in 64, 128 and 224 px: the sets that download by themselves, as folders of PNG.

A file ``<name>_<size>.npz`` holds ``{train,val,test}_{images,labels}``. MedMNIST publishes no
patients, so each image counts as one; its own split is not kept.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from medleak.custom.atomic import whole_folder
from medleak.custom.data.datalist import DataError

SIZES = (64, 128, 224)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subset:
    """One of MedMNIST's sets (Yang et al. 2023, doi:10.1038/s41597-022-01721-8).

    Attributes:
        title: What its authors call it.
        modality: As of the phantoms.
        classes: Label k is the k-th.
        channels: 1 or 3.
        licence: Of the images.
        findings: Labels are a row of 0 and 1 for findings: any finding is class 1.
    """

    title: str
    modality: str
    classes: tuple[str, ...]
    channels: int
    licence: str = "CC BY 4.0"
    findings: bool = False


SUBSETS = {
    "pneumoniamnist": Subset(
        title="PneumoniaMNIST", modality="cxr", classes=("normal", "pneumonia"), channels=1
    ),
    "chestmnist": Subset(
        title="ChestMNIST",
        modality="cxr",
        classes=("no_finding", "finding"),
        channels=1,
        findings=True,
    ),
    "retinamnist": Subset(
        title="RetinaMNIST",
        modality="fundus",
        classes=("grade_0", "grade_1", "grade_2", "grade_3", "grade_4"),
        channels=3,
    ),
    "dermamnist": Subset(
        title="DermaMNIST",
        modality="dermoscopy",
        classes=(
            "actinic_keratoses",
            "basal_cell_carcinoma",
            "benign_keratosis",
            "dermatofibroma",
            "melanoma",
            "nevi",
            "vascular_lesions",
        ),
        channels=3,
        licence="CC BY-NC 4.0",
    ),
}
SOURCE = "https://medmnist.com"


def find(name: str) -> Subset:
    """The subset called ``name``, in any case.

    Raises:
        DataError: There is none.
    """
    if name.lower() not in SUBSETS:
        raise DataError(
            f"There is no MedMNIST set {name!r} here: its classes are unknown. Use one of "
            f"{', '.join(SUBSETS)}."
        )
    return SUBSETS[name.lower()]


def download(name: str, size: int, folder: Path) -> Path:
    """The file of ``name`` in ``size`` px below ``folder``, downloaded unless it is there.

    Raises:
        DataError: The extra ``medmnist`` is missing, the size unknown, or the download failed.
    """
    find(name)
    if size not in SIZES:
        raise DataError(f"MedMNIST has no {size} px: use one of {', '.join(map(str, SIZES))}.")
    path = folder / f"{name.lower()}_{size}.npz"
    if path.is_file():
        return path
    try:
        import medmnist
    except ImportError:
        raise DataError(
            "MedMNIST's downloader is not installed. Run pip install 'medleak[medmnist]', or get "
            f"{path.name} from {SOURCE} and name it by --npz."
        ) from None
    info: dict[str, Any] = medmnist.INFO[name.lower()]
    make = getattr(medmnist, info["python_class"])
    try:
        # Half a file under its final name would be taken for the set by the next call.
        with whole_folder(folder) as part:
            make(split="val", download=True, root=str(part), size=size)
    except Exception as error:  # whatever the network, the server or a check of the hash raises
        raise DataError(
            f"{path.name} could not be downloaded ({' '.join(str(error).split())[:200]}): there "
            f"are no images. Try again, or get it from {SOURCE} on another machine and name it by "
            "--npz."
        ) from None
    return path


def pictures(path: Path, subset: Subset) -> Iterator[tuple[str, str, NDArray[np.uint8]]]:
    """Class, patient and pixels of every image in the npz file ``path``.

    Raises:
        DataError: The file is missing, damaged or of another form.
    """
    with _opened(path) as arrays:
        for part in ("train", "val", "test"):
            images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"]
            _check(path, part, images, labels, subset)
            classes = (labels.any(1) if subset.findings else labels[:, 0]).astype(int)
            for k, (pixels, label) in enumerate(zip(images, classes, strict=True)):
                yield subset.classes[label], f"{part}/{k}", pixels


def side_of(path: Path, subset: Subset) -> int:
    """Height and width in px of the images in the npz file ``path``, by their headers alone.

    Raises:
        DataError: As `pictures`; or its images are not square, or not all of one size.
    """
    shapes = []
    with _opened(path), ZipFile(path) as archive:
        for part in ("train", "val", "test"):
            with archive.open(f"{part}_images.npy") as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0
                if version != (1, 0):
                    read = np.lib.format.read_array_header_2_0
                shapes.append(read(file)[0])
    sides = {side for shape in shapes for side in shape[1:3]}
    if len(sides) != 1:
        raise DataError(
            f"{str(path)!r} holds images of the shapes {', '.join(map(str, shapes))}, where "
            f"{subset.title} has square ones of one size. Download it anew."
        )
    return sides.pop()


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The arrays of the npz file ``path``; a DataError for whatever it is else."""
    try:
        # np.load leaves a file open that it cannot read.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            yield arrays
    except (OSError, KeyError, ValueError, EOFError, BadZipFile) as error:
        if isinstance(error, DataError):
            raise
        why = " ".join(str(error).split())[:200]
        raise DataError(
            f"{str(path)!r} is no MedMNIST file ({why}): its images cannot be read. Download it "
            "anew."
        ) from None


def _check(
    path: Path,
    part: str,
    images: NDArray[np.generic],
    labels: NDArray[np.generic],
    subset: Subset,
) -> None:
    gray = subset.channels == 1
    fits = (
        images.dtype == np.uint8
        and images.ndim == (3 if gray else 4)
        and (gray or images.shape[3] == 3)
        and labels.ndim == 2
        and len(labels) == len(images)
        and labels.min(initial=0) >= 0
        and labels.max(initial=0) < (2 if subset.findings else len(subset.classes))
    )
    if not fits:
        raise DataError(
            f"{str(path)!r} holds {part} images {images.dtype} {list(images.shape)} and labels "
            f"{list(labels.shape)}, which are not {subset.title}'s. Name the file of this set."
        )
