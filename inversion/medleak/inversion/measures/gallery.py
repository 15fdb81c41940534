"""All training and validation images of all clients: what IIP and the null figures search in."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from medleak.custom.data.datalist import DataError, Item, load_datalist
from medleak.custom.data.transforms import load_images
from medleak.custom.record import InputSpec

_IMAGES_AT_ONCE, _VOLUMES_AT_ONCE = 64, 4
THUMBNAIL_PX = 16
SECTIONS = ("training", "validation")


class Embed(Protocol):
    """An embedding network."""

    def __call__(self, images: Tensor, /) -> Tensor:
        """Features [N, D] of images [N, C, H, W] in [0, 1]."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Gallery:
    """Every image once, whichever clients hold it and under whatever file names.

    No pixels are kept but thumbnails and sums: G images of any size take G x (256 + D) numbers, and
    a picture for every pair of client and class.

    Attributes:
        items: [G], the first file of each image.
        labels: [G] int64 class.
        owners: [G], names of the clients that hold it.
        training: Client to the places of its training images, in the order of its list.
        thumbnails: [G, C * 16 * 16], block means; see `thumbnails_of`.
        features: [G, D] of unit length, or None where no embedding network was to be had.
        left_out: Files that could not be read.
    """

    items: Sequence[Item]
    labels: Tensor
    owners: Sequence[frozenset[str]]
    training: Mapping[str, Sequence[int]]
    thumbnails: Tensor
    features: Tensor | None
    left_out: int
    _sums: Mapping[tuple[str | None, int], tuple[Tensor, int]]

    def __len__(self) -> int:
        """Images G."""
        return len(self.items)

    def class_mean(self, label: int, without: str) -> Tensor | None:
        """Mean [C, H, W] of the images of class ``label`` that client ``without`` does not hold.

        None where the other clients have no image of that class.
        """
        total, count = self._sums.get((None, label), (None, 0))
        own, own_count = self._sums.get((without, label), (None, 0))
        if total is None or count == own_count:
            return None
        rest = total if own is None else total - own
        return (rest / (count - own_count)).clamp(0, 1).float()


def build_gallery(
    datalists: Mapping[str, Path | None], spec: InputSpec, embed: Embed | None = None
) -> Gallery:
    """Read every client's training and validation images, a few dozen at a time.

    Images are the same when their pixels are, as the client loads them: a validation set that all
    clients share is in the gallery once.

    Args:
        datalists: Client to its list; None: its images are not known, and not in the gallery.
        spec: Size and channels of the record's images.
        embed: Embedding network; None: a gallery without features.

    An image that cannot be read is left out and counted: one client's damaged file is no reason not
    to audit the others.

    Raises:
        DataError: A list cannot be read.
    """
    places: dict[bytes, int] = {}
    items: list[Item] = []
    owners: list[set[str]] = []
    training: dict[str, list[int]] = {}
    thumbnails: list[Tensor] = []
    features: list[Tensor] = []
    sums: dict[tuple[str | None, int], tuple[Tensor, int]] = {}

    def add(key: tuple[str | None, int], image: Tensor) -> None:
        total, count = sums.get(key, (torch.zeros_like(image, dtype=torch.float64), 0))
        sums[key] = (total + image, count + 1)

    left_out = 0
    at_once = _IMAGES_AT_ONCE if len(spec.spatial_size) == 2 else _VOLUMES_AT_ONCE
    for site, section, listed in _batches(datalists, at_once):
        batch, images = _readable(listed, spec)
        left_out += len(listed) - len(batch)
        fresh = []
        for item, image in zip(batch, images, strict=True):
            place = places.setdefault(_digest(image), len(items))
            if place == len(items):
                items.append(item)
                owners.append(set())
                fresh.append(image)
                add((None, item.label), image)
            if site not in owners[place]:
                owners[place].add(site)
                add((site, items[place].label), image)
            if section == "training":
                training.setdefault(site, []).append(place)
        if fresh:
            thumbnails.append(thumbnails_of(torch.stack(fresh)))
            if embed is not None:
                features.append(unit_length(embed(torch.stack(fresh))).cpu())
    return Gallery(
        items,
        torch.tensor([item.label for item in items], dtype=torch.int64),
        [frozenset(names) for names in owners],
        training,
        torch.cat(thumbnails) if thumbnails else torch.empty(0, 0),
        torch.cat(features) if features else None,
        left_out,
        sums,
    )


def thumbnails_of(images: Tensor) -> Tensor:
    """Block means [N, C * 16 * 16] of images [N, C, H, W], [N, C * 8 * 8 * 8] of volumes."""
    if images.dim() == 5:
        return torch.nn.functional.adaptive_avg_pool3d(images, THUMBNAIL_PX // 2).flatten(1)
    return torch.nn.functional.adaptive_avg_pool2d(images, THUMBNAIL_PX).flatten(1)


def unit_length(features: Tensor) -> Tensor:
    """Features [N, D] scaled to length 1, so that a product is a cosine; all zeros stay zero."""
    return torch.nn.functional.normalize(features, dim=1)


def _batches(
    datalists: Mapping[str, Path | None], at_once: int
) -> Iterator[tuple[str, str, list[Item]]]:
    for site, path in datalists.items():
        if path is None:
            continue
        lists = load_datalist(path)
        for section in SECTIONS:
            for start in range(0, len(lists[section]), at_once):
                yield site, section, lists[section][start : start + at_once]


def _readable(items: list[Item], spec: InputSpec) -> tuple[list[Item], list[Tensor]]:
    """Items whose images can be read, and the images [C, *size]."""
    size, channels = spec.spatial_size, spec.channels
    kept, images = [], []
    for item in items:
        try:
            image, _ = load_images([item], spatial_size=size, channels=channels)
        except DataError:
            continue
        kept.append(item)
        images.append(image[0])
    return kept, images


def _digest(image: Tensor) -> bytes:
    return hashlib.sha256(image.numpy().tobytes()).digest()
