"""The null of the other sites: what an attack makes of updates that never met the image.

A null like those of `medleak.inversion.measures.nulls`, but of an audit as a whole: it stands in
the audit directory when all cases do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from medleak.inversion.audit.panels import listed_picture
from medleak.inversion.images.pictures import read_picture
from medleak.inversion.measures import similarity
from medleak.inversion.measures.seen import most_alike
from medleak.inversion.results.replays import sums_over_sites
from medleak.inversion.results.rows import Row, read_rows, six_digits, write_rows


def finish(out: Path) -> list[Row]:
    """Fill in ``ssim_other`` of an audit directory's results.csv, from its own pictures.

    Each truth is compared with the reconstructions from the updates of the other sites in its cell:
    of each site the one nearest to the truth, then the mean over the sites. Where the network saw
    the truth transformed, they go through the same search for a transformation. Pictures have 8
    bits, which moves an SSIM by less than 0.001. To be called when an audit has ended, and again
    when cases were added: the same directory gives the same figures however often it is called.

    Returns:
        All rows, as results.csv now has them.

    Raises:
        ValueError: Results of another version.
        DataError: A picture is missing or damaged.
        OSError: The disk refuses the table; the old one stays.
    """
    path = out / "results.csv"
    rows = read_rows(path)
    cells: dict[tuple[object, ...], list[int]] = {}
    for k, row in enumerate(rows):
        key = (row.round, row.attack, row.defence, row.knowledge, row.seed)
        cells.setdefault(key, []).append(k)
    for places in cells.values():
        finished = _finish_cell(out, [rows[k] for k in places])
        for k, row in zip(places, finished, strict=True):
            rows[k] = row
    if rows:
        write_rows(path, rows)
    return rows


def _finish_cell(out: Path, rows: Sequence[Row]) -> list[Row]:
    by_site: dict[str, list[Row]] = {}
    for row in rows:
        by_site.setdefault(row.site, []).append(row)
    # The sums that other sites' attackers saw may have this site's images in them: no null.
    if len(by_site) == 1 or sums_over_sites(rows[0].defence):
        return [replace(row, ssim_other=None) for row in rows]
    guesses = {
        site: torch.stack([read_picture(out / row.picture) for row in members])
        for site, members in by_site.items()
    }
    return [replace(row, ssim_other=_ssim_of_others(out, row, guesses)) for row in rows]


def _ssim_of_others(out: Path, row: Row, guesses: Mapping[str, Tensor]) -> float | None:
    if row.truth_picture is None:
        return None
    if row.transformation is not None:
        return _searched(out, listed_picture(row.truth_picture)[0], row.site, guesses)
    truth = read_picture(out / row.truth_picture)
    nearest = []
    for site, images in guesses.items():
        if site != row.site:
            same = similarity.as_channels(images, len(truth))
            errors = (same - truth).square().flatten(1).mean(1)
            nearest.append(same[errors.argmin()])
    others = torch.stack(nearest)
    return six_digits(similarity.ssim(truth.expand_as(others), others).mean())


def _searched(
    out: Path, truth_picture: str, site: str, guesses: Mapping[str, Tensor]
) -> float | None:
    truth = read_picture(out / truth_picture)
    found = [
        most_alike(truth, similarity.as_channels(images, len(truth)))
        for name, images in guesses.items()
        if name != site
    ]
    return six_digits(sum(found) / len(found))
