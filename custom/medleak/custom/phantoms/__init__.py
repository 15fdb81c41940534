"""Made-up medical images: the embedded default data, drawn from a seed, of nobody.

Anatomy, disease and a burned-in name belong to the patient; pose, exposure and grain to the single
image, so that two visits of one patient look alike but not the same. A modality is one entry of
`MODALITIES`, or of `VOLUMES`, and one module with what it draws.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from medleak.custom.data.datalist import Item
from medleak.custom.data.images import save_image
from medleak.custom.data.volumes import save_volume
from medleak.custom.phantoms import brain, chest, fundus, skin, torso
from medleak.custom.phantoms.canvas import Phantom, generator

# Part of the folder name that `render` writes to: raise it whenever a pixel changes.
VERSION = 1


@dataclass(frozen=True, slots=True)
class Modality:
    """What can be drawn: the class names, sorted as folders would be, and by what.

    Attributes:
        classes: Label k of `listing` is the k-th of them.
        channels: 1 for gray, 3 for RGB.
        draw: (class name, patient's generator, visit's generator, (H, W) or (H, W, D)) to
            `Phantom`.
        masks: Whether its phantoms come with a mask for segmentation.
    """

    classes: tuple[str, ...]
    channels: int
    draw: Callable[[str, np.random.Generator, np.random.Generator, Any], Phantom]
    masks: bool = False


MODALITIES = {
    "cxr": Modality(chest.CLASSES, 1, chest.chest),
    "fundus": Modality(fundus.CLASSES, 3, fundus.fundus),
    "brain_mri": Modality(brain.CLASSES, 1, brain.brain_mri, masks=True),
    "dermoscopy": Modality(skin.CLASSES, 3, skin.dermoscopy, masks=True),
}


VOLUMES = {"torso_ct": Modality(torso.CLASSES, 1, torso.torso_ct, masks=True)}
"""What is drawn in three dimensions, and kept in NIfTI files."""


def listing(
    n: int, seed: int = 0, modality: str = "cxr", classes: Sequence[str] | None = None
) -> list[Item]:
    """``n`` items without pixels, as even over the classes as ``n`` allows.

    An item's image is ``<class>/p<patient>_<visit>.png``, ``.nii`` of a volume. A patient has one
    class and one image (70 %), two (20 %) or three. Equal arguments give equal listings.

    Args:
        n: Number of images, 0 or more.
        seed: Of the patients.
        modality: A key of `MODALITIES` or of `VOLUMES`.
        classes: Of the modality; label k is the k-th. None: all of them.

    Raises:
        ValueError: ``n`` is negative, or modality or class is unknown.
    """
    if n < 0:
        raise ValueError(f"The number of phantoms must be 0 or more, got {n}.")
    names = tuple(classes or _modality(modality).classes)
    for name in names:
        _check_class(modality, name)
    rng = generator(*_key(seed, modality), "listing")
    kind = ".nii" if modality in VOLUMES else ".png"
    missing = [(n + len(names) - 1 - k) // len(names) for k in range(len(names))]
    items = []
    patient = 0
    while any(missing):
        label = patient % len(names) if all(missing) else missing.index(max(missing))
        for visit in range(min(missing[label], rng.choice([1, 2, 3], p=[0.7, 0.2, 0.1]))):
            name = f"p{patient:05d}"
            items.append(Item(f"{names[label]}/{name}_{visit:02d}{kind}", label, name))
            missing[label] -= 1
        patient += 1
    return items


def render(
    items: Sequence[Item],
    root: str | Path,
    spatial_size: int | tuple[int, ...],
    seed: int = 0,
    modality: str = "cxr",
) -> Path:
    """Write the images of ``items`` that are not there yet, and return their data root.

    The data root is a folder under ``root`` named after the generator's version, seed and size, so
    that an image of other settings is never taken for one of these. PNG without any metadata; each
    file appears whole or not at all, so that several processes may render at the same time. Masks,
    where the modality has them, go under the same names to `mask_root`.

    Args:
        items: As `listing` makes them.
        root: Any folder; made if missing.
        spatial_size: (H, W), (H, W, D) of volumes, or one number for all, at least 16 px.
        seed: The one of the listing.
        modality: The one of the listing.

    Raises:
        ValueError: An item is no phantom, or the size is below 16.
        OSError: The folder cannot be written.
    """
    size = _size(spatial_size, modality)
    kind = "" if modality == "cxr" else f"{modality}-"
    sides = "x".join(map(str, size))
    data_root = Path(root) / f"phantoms-{kind}v{VERSION}-seed{seed}-{sides}"
    save = save_volume if modality in VOLUMES else save_image
    masks = mask_root(data_root) if _modality(modality).masks else None
    for item in items:
        path = data_root / item.image
        if path.exists():
            continue
        drawn = phantom(modality, item.image, size, seed)
        # The mask first: an image that exists is taken to be complete.
        if masks is not None and drawn.mask is not None:
            save(masks / item.image, drawn.mask)
        save(path, drawn.image)
    return data_root


def mask_root(data_root: Path) -> Path:
    """Where `render` puts the masks of the images below ``data_root``."""
    return data_root.with_name(f"{data_root.name}-masks")


def phantom(
    modality: str, name: str, spatial_size: int | tuple[int, ...], seed: int = 0
) -> Phantom:
    """The phantom called ``name``, and its mask where the modality has masks.

    Equal arguments give equal pixels.

    Args:
        modality: A key of `MODALITIES` or of `VOLUMES`.
        name: ``<class>/p<patient>_<visit>.png``, an item's image of `listing`.
        spatial_size: (H, W), (H, W, D) of volumes, or one number for all, at least 16 px.
        seed: Another seed is another population.

    Raises:
        ValueError: The modality is unknown, ``name`` no phantom's, or the size below 16.
    """
    size = _size(spatial_size, modality)
    classes = _modality(modality).classes
    path = PurePosixPath(name)
    patient, underscore, _ = path.stem.partition("_")
    if len(path.parts) != 2 or path.parts[0] not in classes or not underscore:
        raise ValueError(
            f"{name!r} is no phantom: its class and patient are unknown. Take names from "
            f"phantoms.listing: <class>/p<patient>_<visit>.png, class {' or '.join(classes)}."
        )
    key = _key(seed, modality)
    return _modality(modality).draw(
        path.parts[0], generator(*key, patient), generator(*key, name), size
    )


def _modality(name: str) -> Modality:
    every = MODALITIES | VOLUMES
    if name not in every:
        raise ValueError(
            f"There are no phantoms of modality {name!r}: nothing could be drawn. Use one of "
            f"{', '.join(every)}."
        )
    return every[name]


def _check_class(modality: str, name: str) -> None:
    classes = _modality(modality).classes
    if name not in classes:
        raise ValueError(
            f"There are no {modality} phantoms of class {name!r}: nothing could be drawn. Use "
            f"classes among {', '.join(classes)}."
        )


def _key(seed: int, modality: str) -> tuple[int | str, ...]:
    """What tells populations apart; chest X-rays keep the key that they had as the only ones."""
    return (seed,) if modality == "cxr" else (modality, seed)


def _size(spatial_size: int | tuple[int, ...], modality: str) -> tuple[int, ...]:
    """(H, W) or (H, W, D) of ``spatial_size``, checked."""
    axes = 3 if modality in VOLUMES else 2
    size = (spatial_size,) * axes if isinstance(spatial_size, int) else tuple(spatial_size)
    if len(size) != axes:
        raise ValueError(
            f"Phantoms of {modality} have {axes} sides, and spatial_size is {spatial_size}: give "
            f"as many, or one number for all. Volumes are {', '.join(VOLUMES)}."
        )
    if min(size) < 16:
        raise ValueError(
            f"spatial_size must be at least 16, got {spatial_size}: fewer pixels show no anatomy. "
            "Use 64 or 224."
        )
    return size
