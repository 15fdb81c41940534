"""Figures that say nothing of a leak: what any image scores against a truth.

An SSIM alone says little: two unrelated chest films have 0.4. Beside every figure stand what the
prior scores, and three images that the attacked update cannot have leaked:

- the class mean over the other clients' images: what everyone knows of the class;
- the nearest non-member: the image most like the truth that the client did not train on. An
  attacker who only guessed a similar patient could do no better;
- the reconstruction from another client's update under the same attack, defence, knowledge, round
  and seed: what the attack makes of an update that has never met the image (see `finish`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from medleak.custom.data.datalist import open_image
from medleak.custom.data.transforms import load_images
from medleak.custom.record import InputSpec
from medleak.inversion.measures import similarity
from medleak.inversion.measures.gallery import Gallery, thumbnails_of
from medleak.inversion.results.rows import Row, read_rows, six_digits, write_rows

NEAREST = 16
"""Non-members, nearest by thumbnail, whose SSIM is computed."""


def ssim_of_class_mean(gallery: Gallery, site: str, truths: Tensor, labels: Tensor) -> Tensor:
    """SSIM of truths [M, C, H, W] of ``site`` with the mean of the other clients' class.

    Returns:
        [M] float64; NaN where no other client has an image of that class.
    """
    found = torch.full((len(truths),), torch.nan, dtype=torch.float64)
    for label in labels.unique().tolist():
        mean = gallery.class_mean(label, without=site)
        if mean is not None:
            of_class = truths[labels == label]
            found[labels == label] = similarity.ssim(of_class, mean.expand_as(of_class)).cpu()
    return found


def ssim_of_nonmember(
    gallery: Gallery, site: str, truths: Tensor, spec: InputSpec, nearest: int = NEAREST
) -> Tensor:
    """The best SSIM of each truth [M, C, H, W] with an image that ``site`` did not train on.

    Of all non-members only those few are loaded whose thumbnails (16 x 16 block means) are nearest.
    That is a lower bound of the search over all; on chest X-rays at 64 px it missed by 0.005 on
    average. Embeddings choose no better, and would tie this figure to a network.

    Returns:
        [M] float64; NaN where the gallery has no other image.

    Raises:
        DataError: An image cannot be read.
    """
    found = torch.full((len(truths),), torch.nan, dtype=torch.float64)
    members = set(gallery.training.get(site, ()))
    others = [place for place in range(len(gallery)) if place not in members]
    if not others:
        return found
    distance = torch.cdist(thumbnails_of(truths), gallery.thumbnails[others])
    candidates = distance.topk(min(nearest, len(others)), largest=False).indices
    for k, row in enumerate(candidates.tolist()):
        images, _ = load_images(
            [gallery.items[others[i]] for i in row],
            spatial_size=spec.spatial_size,
            channels=spec.channels,
        )
        found[k] = similarity.ssim(truths[k : k + 1].expand_as(images), images).max()
    return found


def finish(out: Path) -> list[Row]:
    """Fill in ``ssim_other`` of an audit directory's results.csv, from its own pictures.

    Each truth is compared with the reconstructions from the updates of the other sites in its cell:
    of each site the one nearest to the truth, then the mean over the sites. Pictures have 8 bits,
    which moves an SSIM by less than 0.001. To be called when an audit has ended, and again when
    cases were added: the same directory gives the same figures however often it is called.

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
    if len(by_site) == 1:
        return [replace(row, ssim_other=None) for row in rows]
    guesses = {
        site: torch.stack([picture(out / row.picture) for row in members])
        for site, members in by_site.items()
    }
    return [replace(row, ssim_other=_ssim_of_others(out, row, guesses)) for row in rows]


def _ssim_of_others(out: Path, row: Row, guesses: Mapping[str, Tensor]) -> float | None:
    if row.truth_picture is None:
        return None
    truth = picture(out / row.truth_picture)
    nearest = []
    for site, images in guesses.items():
        if site != row.site:
            same = similarity.as_channels(images, len(truth))
            errors = (same - truth).square().flatten(1).mean(1)
            nearest.append(same[errors.argmin()])
    others = torch.stack(nearest)
    return six_digits(similarity.ssim(truth.expand_as(others), others).mean())


def picture(path: Path) -> Tensor:
    """A picture of an audit directory, [C, H, W] float32 in [0, 1].

    Raises:
        DataError: It is missing or damaged.
    """
    pixels = np.asarray(open_image(path), dtype=np.float32) / 255
    return torch.from_numpy(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1).copy())
