"""Tables of sites: which clients there are, how they batch, how many images each has.

A table is data, so that any other can stand in the place of TMI Table II.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from medleak.custom.data.data_error import DataError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
# TMI's smallest clients train on 8 images: below it, a scaled table would lose what it compares.
_SMALLEST = 8


@dataclass(frozen=True, slots=True)
class Site:
    """One row of the table: a client, how it batches, how many images it has.

    Args:
        name: The NVFlare client's name.
        batch_size: Images in one local step, at least 1.
        training: Training images, at least 1.
        validation: Validation images, 0 or more.
        shares: Another site, of whose training images these are the first of each class in turn,
            and whose validation images these are. None: images that no other site has.

    Raises:
        DataError: A value is out of range.
    """

    name: str
    batch_size: int
    training: int
    validation: int
    shares: str | None = None

    def __post_init__(self) -> None:
        """Reject rows that no client can run."""
        if not _NAME.fullmatch(self.name):
            raise DataError(
                f"Site name {self.name!r} cannot be a client's name: it becomes one of a file. Use "
                "up to 63 letters, digits, '_', '.' and '-'."
            )
        for field, least in (("batch_size", 1), ("training", 1), ("validation", 0)):
            if getattr(self, field) < least:
                raise DataError(
                    f"Site {self.name!r} has {field} {getattr(self, field)}: it could not train. "
                    f"Use at least {least}, or leave the site out."
                )


# Hatamizadeh et al. 2023 (arXiv:2202.06924), Table II: client, batch size, training, validation.
TMI_TABLE_II = (
    Site("site-1", 4, 8, 200),
    Site("site-2", 4, 32, 200),
    Site("site-3", 4, 128, 200),
    Site("site-4", 4, 512, 200),
    Site("site-5", 8, 8, 200),
    Site("site-6", 8, 32, 200),
    Site("site-7", 8, 128, 200),
    Site("site-8", 8, 512, 200),
    Site("site-9", 1, 1, 200, shares="site-1"),  # the "high-risk" client
)
# MedPFL attacks gradients of one image; larger batches beside them show what that hides.
# The paper has no table of its own.
MEDPFL_SITES = (
    *(Site(f"site-{n}", 1, 1, 80) for n in range(1, 5)),
    *(Site(f"site-{n}", 4, 4, 80) for n in range(5, 7)),
    *(Site(f"site-{n}", 8, 8, 80) for n in range(7, 9)),
)


def format_table(sites: Sequence[Site]) -> str:
    """``sites`` as one word without quotes or braces: safe in JSON and in a command line.

    ``name:batch_size:training:validation[:shares]``, joined by commas.
    """
    rows = []
    for site in sites:
        row = [site.name, str(site.batch_size), str(site.training), str(site.validation)]
        rows.append(":".join(row if site.shares is None else [*row, site.shares]))
    return ",".join(rows)


def parse_table(text: str) -> tuple[Site, ...]:
    """The table that `format_table` wrote as ``text``.

    Raises:
        DataError: ``text`` is no such table, or its rows contradict each other.
    """
    sites = []
    for row in text.split(","):
        name, *numbers = row.strip().split(":")
        try:
            batch_size, training, validation = map(int, numbers[:3])
            (shares,) = numbers[3:] or [None]
        except ValueError:
            raise DataError(
                f"Site {row!r} cannot be understood, so no data can be given to it. Write "
                "name:batch_size:training:validation, such as site-1:4:8:200; a fifth part names "
                "the site that it shares images with."
            ) from None
        sites.append(Site(name, batch_size, training, validation, shares))
    own_images(sites)
    return tuple(sites)


def batch_size_of(sites: Sequence[Site], name: str) -> int:
    """The batch size in the row of ``name``.

    Raises:
        DataError: There is no such row.
    """
    for site in sites:
        if site.name == name:
            return site.batch_size
    raise DataError(
        f"Site {name!r} has no row in the table, so its batch size is not known. Give it a row "
        "(--table name:batch_size:training:validation,...), or --batch_size; the table has "
        f"{', '.join(site.name for site in sites) or '(none)'}."
    )


def own_images(sites: Sequence[Site]) -> dict[str, Site]:
    """Sites with images of their own, by name, after checking that the rows fit together.

    Raises:
        DataError: They contradict each other.
    """
    for name, count in Counter(site.name for site in sites).items():
        if count > 1:
            raise DataError(
                f"Site {name!r} is in the table {count} times: its images would be mixed up. Give "
                "every site one row."
            )
    hosts = {site.name: site for site in sites if site.shares is None}
    for site in sites:
        if site.shares is None:
            continue
        if site.shares not in hosts:
            raise DataError(
                f"Site {site.name!r} shares the images of {site.shares!r}, which has none of its "
                f"own. Name one of {', '.join(hosts) or '(none)'}."
            )
        if site.training > hosts[site.shares].training:
            raise DataError(
                f"Site {site.name!r} wants {site.training} training images of {site.shares!r}, "
                f"which has {hosts[site.shares].training}. Lower the number."
            )
    if not hosts:
        raise DataError("The table has no site: there is nobody to train. Name at least one site.")
    return hosts


def scaled(sites: Sequence[Site], scale: float, num_classes: int = 2) -> tuple[Site, ...]:
    """``sites`` with ``scale`` times the images, for smaller data.

    Training counts stay multiples of the batch size and at least 8 (a site that has fewer is left
    alone); validation counts stay multiples of ``num_classes`` and above 0; a sharing site follows
    the site that it shares with. Scale 1 returns the table as it is.

    Raises:
        DataError: ``scale`` is not above 0 and up to 1, or the table is inconsistent.
    """
    if not 0 < scale <= 1:
        raise DataError(
            f"scale must be above 0 and at most 1, got {scale}: it shrinks the table. Give a "
            "table of your own for more images."
        )
    if scale == 1:
        return tuple(sites)
    hosts = {}
    for name, site in own_images(sites).items():
        smallest = -(-_SMALLEST // site.batch_size) * site.batch_size
        hosts[name] = replace(
            site,
            training=_shrink(site.training, scale, site.batch_size, smallest),
            validation=_shrink(site.validation, scale, num_classes, num_classes),
        )
    return tuple(
        hosts[site.name]
        if site.shares is None
        else replace(
            site,
            training=min(
                _shrink(site.training, scale, site.batch_size, _SMALLEST),
                hosts[site.shares].training,
            ),
            validation=hosts[site.shares].validation,
        )
        for site in sites
    )


def _shrink(count: int, scale: float, multiple: int, least: int) -> int:
    """``count · scale`` down to a multiple, not below ``least``; small counts are left alone."""
    if count <= least:
        return count
    # The rounding keeps 0.29 · 100 at 29.
    return max(int(round(count * scale, 6) // multiple) * multiple, least)


def images_needed(sites: Sequence[Site]) -> int:
    """Images, as many of each class, that ``sites`` and a test set need.

    The test set counts as the largest validation set. Sharing sites need none.
    """
    hosts = own_images(sites).values()
    test = max(site.validation for site in hosts)
    return sum(site.training + site.validation for site in hosts) + test
