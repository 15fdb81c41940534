"""Which site trains on which images: splits of a table's numbers by patient.

A split depends on the items, the table and the seed alone, so that every client process computes
the same one by itself.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medleak.custom.data.datalist import DataError, Item
from medleak.custom.sites.table import (
    MEDPFL_SITES,
    TMI_TABLE_II,
    Site,
    format_table,
    images_needed,
    own_images,
    parse_table,
    scaled,
)

__all__ = [
    "MEDPFL_SITES",
    "TMI_TABLE_II",
    "Site",
    "Split",
    "format_table",
    "images_needed",
    "largest_scale",
    "parse_table",
    "scaled",
    "split",
]


@dataclass(frozen=True, slots=True)
class Split:
    """Items by site and then ``"training"`` or ``"validation"``; ``test``: of other patients."""

    sites: dict[str, dict[str, list[Item]]]
    test: list[Item]

    def lists(self, site: str) -> dict[str, list[Item]]:
        """The training, validation and test list of ``site``, as `save_datalist` takes them.

        Raises:
            DataError: There is no such site.
        """
        if site not in self.sites:
            raise DataError(
                f"Site {site!r} is not in the table, so no images are its own. Add it, or run one "
                f"of {', '.join(self.sites)}."
            )
        return {**self.sites[site], "test": self.test}


def largest_scale(sites: Sequence[Site], items: Sequence[Item], seed: int = 0) -> float:
    """The largest scale, in hundredths, at which `split` with ``seed`` succeeds for ``items``.

    A test set as large as a site's validation set must be left over.

    Raises:
        DataError: The data do not even allow the smallest table.
    """
    num_classes = len({item.label for item in items})
    for hundredths in range(100, 0, -1):
        table = scaled(sites, hundredths / 100, max(num_classes, 1))
        if images_needed(table) > len(items):
            continue
        try:
            test = split(items, table, seed).test
        except DataError:
            continue
        if len(test) >= max(site.validation for site in table):
            return hundredths / 100
    smallest = images_needed(scaled(sites, 0.01, max(num_classes, 1)))
    raise DataError(
        f"{len(items)} images of {num_classes} classes, {patients_text(items)}, are too few for "
        f"{len(sites)} sites, which need about {smallest}, as many of each class and from many "
        "patients. Use more images, or fewer sites (--table, such as a:4:8:2,b:4:8:2), or say "
        "otherwise what a patient is: --patient-pattern or --patients of `medleak data folder`."
    )


def patients_text(items: Sequence[Item]) -> str:
    """How many patients ``items`` are of, with an example from which it can be seen how so."""
    images: dict[str, list[str]] = {}
    for item in items:
        images.setdefault(item.patient, []).append(item.image)
    if len(images) >= len(items):
        return f"{len(images)} patients (one an image)"
    patient, found = max(images.items(), key=lambda pair: len(pair[1]))
    return (
        f"{len(images)} patients (one of them, {patient!r}, has {len(found)} images, such as "
        f"{found[0]!r})"
    )


def split(items: Sequence[Item], sites: Sequence[Site], seed: int = 0) -> Split:
    """Deal ``items`` out to ``sites`` by patient, as many of each class as the table says.

    Guarantees: no patient is in two sites, nor in two of training, validation and test, but for
    sites that share; every list has the table's length, its classes differ by at most one image;
    equal items, table and seed give the equal split in any order of ``items``. Patients that fit
    are preferred; images by which a last patient exceeds a list are used nowhere.

    Returns:
        The split. ``test`` holds all images of the patients that no site took; it may be empty.

    Raises:
        DataError: The items do not suffice, or the table is inconsistent.
    """
    groups: dict[str, list[Item]] = {}
    for item in sorted(set(items)):
        groups.setdefault(item.patient, []).append(item)
    patients = [groups[patient] for patient in sorted(groups)]
    patients = [patients[k] for k in np.random.default_rng(seed).permutation(len(patients))]
    labels = sorted({item.label for item in items})
    if not labels:
        raise DataError(
            f"There are no images for {len(sites)} sites: every site would stay without any. Name "
            "a data root or a datalist that holds images."
        )
    wanted = [
        (count, site.name, section)
        for site in own_images(sites).values()
        for section, count in (("training", site.training), ("validation", site.validation))
    ]
    lists: dict[str, dict[str, list[Item]]] = {site.name: {} for site in sites}
    dealt = 0
    # The smallest lists choose first: a patient with many images fits a large list alone.
    for count, name, section in sorted(wanted, key=lambda want: want[0]):
        quota = _quota(count, labels, dealt)
        dealt += count
        lists[name][section], patients = _take(
            patients, quota, f"Site {name!r}: its {section} list"
        )
    for site in sites:
        if site.shares is not None:
            host = lists[site.shares]
            lists[site.name] = {
                "training": _in_turn(host["training"], site.training),
                "validation": list(host["validation"]),
            }
    return Split(lists, [item for group in patients for item in group])


def _quota(count: int, labels: Sequence[int], start: int) -> Counter[int]:
    """``count`` dealt evenly to ``labels``; what is left over goes round, from the ``start``-th."""
    return Counter(labels[(start + k) % len(labels)] for k in range(count))


def _in_turn(items: Sequence[Item], count: int) -> list[Item]:
    """``count`` of ``items``: the first of each class in turn, from the lowest label on."""
    rank: Counter[int] = Counter()
    order = []
    for item in items:
        order.append((rank[item.label], item.label, item))
        rank[item.label] += 1
    return [item for *_, item in sorted(order)[:count]]


def _take(
    patients: Sequence[list[Item]], quota: Counter[int], what: str
) -> tuple[list[Item], list[list[Item]]]:
    """Items by ``quota`` (label to count), and the patients of whom none was taken."""
    need = quota.copy()
    taken: list[Item] = []
    left = []
    for group in patients:
        have = Counter(item.label for item in group) if need else None
        if have is not None and have <= need:
            taken += group
            need -= have
        else:
            left.append(group)
    # No further patient fits as a whole: cut those that waste the fewest images.
    cut = set()
    for group in sorted(left, key=len) if need else ():
        for item in group:
            if need[item.label] > 0:
                need[item.label] -= 1
                taken.append(item)
                cut.add(item.patient)
    if need.total():
        label, missing = need.most_common(1)[0]
        raise DataError(
            f"{what} needs {quota.total()} images, {quota[label]} of them of class {label}, and "
            f"{missing} of those are missing among the {len(patients)} patients that were left: "
            "without them the site would not be the table's. Use a smaller scale, fewer sites or "
            "more images, or say otherwise what a patient is (--patient-pattern of `medleak data "
            "folder`)."
        )
    return taken, [group for group in left if group[0].patient not in cut]
