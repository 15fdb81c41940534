"""Images of lists for membership, told apart by their pixels and never by their names."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from medleak.custom.data.datalist import Item, load_datalist
from medleak.custom.data.transforms import load_images
from medleak.inversion.images.prior import public_items
from medleak.inversion.membership.assessment import Group

_SMALL = 64  # px a side at which copies are looked for
_COPY = 0.99

Picture = tuple[tuple[int, int], Literal[1, 3]]
"""(H, W) and channels."""


def load_group(source: Path, picture: Picture, what: str) -> Group:
    """All images of a datalist, or of a folder (then without labels: its classes are anyone's).

    Args:
        source: Datalist or folder.
        picture: As the network takes them.
        what: Its name in errors, which say the place in the list and no file.

    Raises:
        DataError: It cannot be read.
        ValueError: It holds no image, or the same one twice.
    """
    items = public_items(source)
    if not items:
        raise ValueError(
            f"{what} holds no image: nothing could be said. Name a list that has some."
        )
    group = _group(items, picture, what, labelled=source.is_file())
    marks = fingerprints(group.images)
    if len(set(marks)) < len(marks):
        first = next(k for k, mark in enumerate(marks) if mark in marks[:k])
        raise ValueError(
            f"{what} has {len(marks) - len(set(marks))} images twice, first {what}[{first}], at "
            "the network's size: tests would count them as several. Leave the copies out."
        )
    return group


def held_out(datalist: Path, picture: Picture) -> Group | None:
    """Validation and test images of a site's own list, of patients it did not train on."""
    lists = load_datalist(datalist)
    trained = {item.patient for item in lists["training"]}
    items = [i for name in ("validation", "test") for i in lists[name] if i.patient not in trained]
    return _group(items, picture, "held out", labelled=True) if items else None


def fingerprints(images: Tensor) -> list[str]:
    """One of each image [N, C, ...], by its pixels: equal for copies, whatever they are called."""
    return [sha256(image.numpy().tobytes()).hexdigest() for image in images]


def trained_on(datalist: Path, picture: Picture) -> set[str]:
    """Fingerprints of a site's training images."""
    items = load_datalist(datalist)["training"]
    return set(fingerprints(_group(items, picture, "training", labelled=True).images))


def within(group: Group, marks: set[str]) -> NDArray[np.bool_]:
    """[N] which images have one of ``marks``."""
    return np.array([mark in marks for mark in fingerprints(group.images)], dtype=np.bool_)


def near_copies(images: Tensor, member: NDArray[np.bool_]) -> int:
    """How many of ``images`` [N, C, H, W] that were not in are almost one that was, or its mirror.

    Saved anew (as JPEG, in fewer gray levels, a little brighter) an image has other pixels, and
    counts as another image. By the correlation of pixels: copies have 0.99 and more; of chest
    X-rays at 64 px no two films had more than 0.951.
    """
    height, width = (min(side, _SMALL) for side in images.shape[2:])
    small = functional.adaptive_avg_pool2d(images.float(), (height, width))
    place = torch.from_numpy(member)
    inside, outside = _unit(small[place]), _unit(small[~place])
    if not len(inside) or not len(outside):
        return 0
    alike = torch.maximum(outside @ inside.T, outside @ _unit(small[place].flip(-1)).T)
    return int((alike.amax(1) >= _COPY).sum())


def _unit(images: Tensor) -> Tensor:
    """[N, D] of length 1 and mean 0; zero where an image is of one gray."""
    flat = images.flatten(1).double()
    flat = flat - flat.mean(1, keepdim=True)
    length = flat.norm(dim=1, keepdim=True)
    return torch.where(length > 1e-6, flat / length.clamp_min(1e-6), 0.0)


def check_apart(candidates: Group, nonmembers: Group, trained: set[str] | None) -> None:
    """Refuse certain non-members that are not certain, or are candidates.

    Raises:
        ValueError: An image or patient of both lists, or one that the site trained on.
    """
    if both := set(fingerprints(candidates.images)) & set(fingerprints(nonmembers.images)):
        raise ValueError(
            f"{len(both)} images are both candidates and certain non-members: a p-value would "
            "compare an image with itself. Leave them out of one of the lists."
        )
    if shared := set(candidates.patients) & set(nonmembers.patients):
        raise ValueError(
            f"{len(shared)} patients have images both among the candidates and the certain "
            "non-members: films of one person are alike, and the p-values would be too large. "
            "Leave these patients out of --nonmembers."
        )
    if trained is not None and (inside := int(within(nonmembers, trained).sum())):
        raise ValueError(
            f"{inside} of the certain non-members are on the site's own training list: p-values "
            "against them would hide members. Name images that no site trained on."
        )


def check_public(public: Group, others: Sequence[Group], trained: set[str] | None) -> None:
    """Refuse images for reference models that these are asked about, or that a site trained on.

    Raises:
        ValueError: An image or patient of ``others`` too, or an image among ``trained``.
    """
    marks, patients = set(fingerprints(public.images)), set(public.patients)
    for other in others:
        images = len(marks & set(fingerprints(other.images)))
        if images or patients & set(other.patients):
            raise ValueError(
                f"{images} images and {len(patients & set(other.patients))} patients of the "
                "references are candidates or certain non-members as well: reference models stand "
                "for models that never saw those. Leave them out of --references."
            )
    if trained is not None and (inside := int(within(public, trained).sum())):
        raise ValueError(
            f"{inside} of the references are on the site's own training list: reference models "
            "stand for models that never saw what a site has. Leave them out of --references."
        )


def _group(items: Sequence[Item], picture: Picture, what: str, *, labelled: bool) -> Group:
    size, channels = picture
    images, labels = load_images(items, spatial_size=size, channels=channels, section=what)
    return Group(
        images=images,
        labels=labels if labelled else None,
        patients=tuple(item.patient for item in items),
    )
