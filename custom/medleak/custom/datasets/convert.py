"""Sets that are no plain 8-bit image files, rewritten as folders of PNG with opaque names.

An image becomes ``<class>/p<patient>_<visit>.png``: numbers in the order of reading, in which
neither the old name nor a header can be seen, and from which `datalist.patient_of` still tells that
two images are of one patient.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medleak.custom.data.datalist import PATIENT_PATTERN, DataError, read_folders
from medleak.custom.data.dicom import decode_dicom, dicom_files, names_patient
from medleak.custom.data.images import save_image
from medleak.custom.data.pixels.reading import read_image

Picture = tuple[str, str, NDArray[np.uint8]]
"""Class, patient (of any text; it is only compared), pixels."""


def claim_empty(out: Path) -> None:
    """Refuse a folder to write images to that holds something.

    Raises:
        DataError: It does.
    """
    if out.is_dir() and any(out.iterdir()):
        raise DataError(
            f"{str(out)!r} is not empty: old and new images would be mixed. Name a new folder by "
            "--out, or remove that one."
        )


def write_pictures(pictures: Iterable[Picture], out: Path) -> int:
    """Write ``pictures`` below ``out`` and return how many there were.

    Raises:
        DataError: ``out`` holds files already: old and new images would be mixed.
        OSError: It cannot be written.
    """
    claim_empty(out)
    numbers: dict[str, int] = {}
    visits: Counter[int] = Counter()
    for name, patient, pixels in pictures:
        number = numbers.setdefault(patient, len(numbers))
        save_image(out / name / f"p{number:05d}_{visits[number]:02d}.png", pixels)
        visits[number] += 1
    return visits.total()


def dicom_pictures(root: Path, window: tuple[float, float] | None = None) -> Iterable[Picture]:
    """The DICOM images of ``root``: a sub-folder a class, or all of one class ``all``.

    Args:
        root: Folder of DICOM files, whatever they are called.
        window: As `dicom.decode_dicom`; None: each file's own.

    Raises:
        DataError: There are none, or one cannot be used, or a sub-folder is named after a patient:
            its name would be a class's, which a job tells the server.
    """
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise DataError(f"{str(root)!r} {what}: there are no images to read. Name a folder.")
    found = False
    for path in dicom_files(root):
        found = True
        inside = path.relative_to(root).parts
        pixels, patient = decode_dicom(path, window)
        name = inside[0] if len(inside) > 1 else "all"
        if names_patient(path, name):
            raise DataError(
                f"Sub-folder {name!r} of {str(root)!r} is named after a patient of the files in "
                "it: as the name of a class it would go to the server and into records. Sort the "
                "files into one sub-folder a class."
            )
        # Without an ID each file counts as one patient; "/" keeps it apart from any ID.
        yield name, patient or f"/{path}", pixels
    if not found:
        raise DataError(
            f"Folder {str(root)!r} holds no DICOM file (with the preamble of part 10): there is "
            "nothing to convert. Name the folder of the files, one sub-folder a class."
        )


def windowed_pictures(
    root: Path,
    window: tuple[float, float],
    classes: Sequence[str] | None = None,
    patient_pattern: str = PATIENT_PATTERN,
) -> Iterable[Picture]:
    """The images of a folder-per-class set of more than 8 bits, with ``window`` applied.

    Args:
        root: As `datalist.read_folders`.
        window: Values that become black and white.
        classes: Of them; None: all.
        patient_pattern: See `datalist.patient_of`.

    Raises:
        DataError: An image cannot be used, or is colour of 8 bits.
    """
    items, names = read_folders(root, classes, patient_pattern)
    for item in items:
        yield names[item.label], item.patient, read_image(root / item.image, window)
