"""What medleak knows about a public data set: where it is, what it holds, how it is read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Unpack

from medleak.custom.data.datalist import DataError, Item
from medleak.custom.data.image_files import Search
from medleak.custom.data.layouts import FormError
from medleak.custom.sites.split import TMI_TABLE_II, Site


class Reader(Protocol):
    """Items of a root, images relative to it; a FormError where the form is another.

    ``search`` is as of `image_files.find_images`: broken images may be among them.
    """

    def __call__(self, root: Path, **search: Unpack[Search]) -> list[Item]:
        """The items of ``root``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """One set; a new one is one of these in a file of its own and a line in `catalogue`.

    Attributes:
        name: What the command calls it.
        title: What its authors call it.
        use: Where it is used: paper and role.
        modality: As of the phantoms: cxr, fundus, brain_mri, dermoscopy; or natural.
        classes: Label k is the k-th.
        channels: 1 for gray, 3 for RGB.
        counts: Published number of images by class.
        source: Where to get it.
        licence: As its page states it; the page counts.
        form: Folders and files that ``--root`` must hold, in one line.
        patients: How images are told to be of one patient, in one line.
        read: See `Reader`.
        job: What to give to ``python jobs/job.py`` for this set; "" for a prior.
        table: The sites of that job.
        test: Images of the paper's test list, if it says so.
        prior: Public images that an attack may start from; they are not split over sites.
        unpack: (root, folder to write to) to the root to read, for sets that are no image files.
    """

    name: str
    title: str
    use: str
    modality: str
    classes: tuple[str, ...]
    channels: int
    counts: Mapping[str, int]
    source: str
    licence: str
    form: str
    patients: str
    read: Reader
    job: str = ""
    table: tuple[Site, ...] = TMI_TABLE_II
    test: int | None = None
    prior: bool = False
    unpack: Callable[[Path, Path], Path] | None = None


def read(dataset: DataSet, root: Path | None, **search: Unpack[Search]) -> list[Item]:
    """The items of ``dataset`` below ``root``; ``search`` as of `image_files.find_images`.

    Raises:
        DataError: ``root`` is None, missing, of another form, or holds no image; the message says
            where to get the set and under which licence.
    """
    advice = _advice(dataset)
    root = require_root(dataset, root)
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise DataError(f"Root {str(root)!r} {what}: there is no image to use. {advice}")
    try:
        items = dataset.read(root, **search)
    except FormError as error:
        raise DataError(f"Root {str(root)!r} {error}: it is no {dataset.name}. {advice}") from None
    return items


def require_root(dataset: DataSet, root: Path | None) -> Path:
    """``root``, where one is given.

    Raises:
        DataError: It is None; the message says where to get the set.
    """
    if root is None:
        raise DataError(
            f"No --root was given, and medleak downloads no {dataset.name}. {_advice(dataset)}"
        )
    return root


def _advice(dataset: DataSet) -> str:
    return (
        f"{dataset.title} has the form: {dataset.form}. Get it from {dataset.source} (licence: "
        f"{dataset.licence}) and name its folder by --root."
    )


def count(items: Sequence[Item], classes: Sequence[str]) -> dict[str, int]:
    """Number of ``items`` of each class."""
    found = dict.fromkeys(classes, 0)
    for item in items:
        found[classes[item.label]] += 1
    return found
