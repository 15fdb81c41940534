"""Sets that are no plain 8-bit image files, rewritten as folders of PNG with opaque names.

An image becomes ``<class>/p<patient>_<visit>.png``: numbers in the order of reading, in which
neither the old name nor a header can be seen, and from which `datalist.patient_of` still tells that
two images are of one patient.
"""

from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medleak.custom.atomic import whole_folder
from medleak.custom.data.datalist import DataError, Item
from medleak.custom.data.dicom import decode_dicom
from medleak.custom.data.folders.dicom_tree import DicomTree
from medleak.custom.data.images import save_image
from medleak.custom.data.pixels.pool import in_order
from medleak.custom.data.pixels.reading import read_image
from medleak.custom.identity.dicom_header import values_of
from medleak.custom.identity.guard import Guard, Leaving

Picture = tuple[str, str, NDArray[np.uint8]]
"""Class, patient (of any text; it is only compared), pixels."""

Broken = dict[Path, DataError]
"""Files that are left out since they cannot be used, and why."""


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


def write_pictures(
    pictures: Iterable[Picture],
    out: Path,
    seen: Callable[[str, NDArray[np.uint8]], None] = lambda name, pixels: None,
) -> int:
    """Write ``pictures`` below ``out``, all or none, and return how many there were.

    Args:
        pictures: Taken one by one, so that they need not fit into memory.
        out: Folder that is empty or not there.
        seen: Called with the name and the pixels of each one that was written.

    Raises:
        DataError: ``out`` holds files already: old and new images would be mixed.
        OSError: It cannot be written.
    """
    claim_empty(out)
    numbers: dict[str, int] = {}
    visits: Counter[int] = Counter()

    def named() -> Iterator[tuple[str, NDArray[np.uint8]]]:
        for name, patient, pixels in pictures:
            number = numbers.setdefault(patient, len(numbers))
            yield f"{name}/p{number:05d}_{visits[number]:02d}.png", pixels
            visits[number] += 1

    with whole_folder(out) as part:

        def save(picture: tuple[str, NDArray[np.uint8]]) -> tuple[str, NDArray[np.uint8]]:
            save_image(part / picture[0], picture[1])
            return picture

        # Closed before the folder is: no thread writes into one that is being removed.
        with closing(in_order(save, named())) as saved:
            for written in saved:
                if isinstance(written, DataError):
                    raise written
                seen(*written)
    return visits.total()


def dicom_pictures(
    tree: DicomTree,
    window: tuple[float, float] | None = None,
    *,
    name: str = "",
    allowed: Sequence[str] = (),
    broken: Broken | None = None,
    without_id: list[Path] | None = None,
) -> Generator[Picture]:
    """The DICOM images of ``tree``.

    Args:
        tree: As of `folders.dicom_tree.find_dicom`.
        window: As `dicom.decode_dicom`; None: each file's own.
        name: Of what is written: it leaves the site as the set's.
        allowed: Names that a person looked at and that are nobody's.
        broken: Takes files that cannot be used, which are then left out. None: the first is raised.
        without_id: Takes files whose header says no patient: each counts as a patient of its own.

    Raises:
        DataError: An image cannot be used, or all of a class are broken, or a name that would
            leave the site is that of a patient, an order or a study (`identity.guard`).
    """
    guard = Guard(Leaving(classes=tree.classes, name=name, allowed=allowed))
    left: set[str] = set()
    with closing(in_order(lambda file: decode_dicom(file[0], window), tree.files)) as decoded:
        for number, picture in enumerate(decoded, start=1):
            path, of_class = tree.files[number - 1]
            if isinstance(picture, DataError):
                _leave_out(path, picture, broken)
                continue
            left.add(of_class)
            pixels, patient = picture
            guard.see(values_of(path), of_class, number)
            if patient is None and without_id is not None:
                without_id.append(path)
            # Without an ID each file counts as one patient; "/" keeps it apart from any ID.
            yield of_class, patient or f"/{path}", pixels
    refuse_lost(tree.classes, left)


def _leave_out(path: Path, error: DataError, broken: Broken | None) -> None:
    if broken is None:
        raise error
    broken[path] = error


def refuse_lost(classes: Sequence[str], left: Collection[str]) -> None:
    """Refuse to go on without a class because all of its images are broken.

    Args:
        classes: Those that there were images of.
        left: Those that there are still images of.

    Raises:
        DataError: One of ``classes`` is not among ``left``.
    """
    if lost := [name for name in classes if name not in left]:
        raise DataError(
            f"All images of class {lost[0]!r} are broken ({len(lost)} of {len(classes)} classes): "
            "a network would have an output that it never learns. Mend them, or take the class out."
        )


def windowed_pictures(
    items: Sequence[Item],
    classes: Sequence[str],
    root: Path,
    window: tuple[float, float],
    broken: Broken | None = None,
) -> Generator[Picture]:
    """Images of more than 8 bits with ``window`` applied.

    Args:
        items: Images relative to ``root``.
        classes: Label k is the k-th.
        root: Their folder.
        window: Values that become black and white.
        broken: As of `dicom_pictures`.

    Raises:
        DataError: An image cannot be used, or is colour of 8 bits; or all of a class are broken.
    """
    before, left = {classes[item.label] for item in items}, set[str]()
    with closing(in_order(lambda item: read_image(root / item.image, window), items)) as shown:
        for item, pixels in zip(items, shown, strict=True):
            if isinstance(pixels, DataError):
                _leave_out(root / item.image, pixels, broken)
            else:
                left.add(classes[item.label])
                yield classes[item.label], item.patient, pixels
    refuse_lost([name for name in classes if name in before], left)
