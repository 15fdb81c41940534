"""Prior images: what an attacker knows of such images before seeing any update."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from medleak.custom.data.datalist import DataError, Item, load_datalist
from medleak.custom.data.folders.classes import read_images
from medleak.custom.data.folders.names import holds_masks
from medleak.custom.data.folders.recognition import refuse_masks
from medleak.custom.data.image_files import open_image
from medleak.custom.data.pixels.reading import read_image
from medleak.custom.data.transforms import decode, load_images
from medleak.custom.data.volumes import load_volume
from medleak.custom.phantoms import MODALITIES, VOLUMES, listing, phantom

NAMED = ("gray", "phantoms", *(f"phantoms:{modality}" for modality in MODALITIES | VOLUMES))
# Jobs use small seeds (0, 1, …): a prior must never have seen an image that is attacked.
_PHANTOM_SEED = 202206924
_PHANTOMS, _PHANTOM_VOLUMES = 64, 16
_IMAGES_AT_ONCE = 64


def load_prior(prior: str, spatial_size: tuple[int, ...], channels: int) -> Tensor:
    """The prior image that ``prior`` names, as [1, C, *spatial_size] float32 in [0, 1].

    Args:
        prior: ``gray`` (0.5 everywhere), ``phantoms`` (mean of made-up chest X-rays, or of torso
            CT volumes; of another modality: ``phantoms:fundus``) or the path of a picture or of a
            NIfTI volume, which is made smaller with antialiasing where it is larger.
        spatial_size: (H, W) of the record's images, (H, W, D) of its volumes.
        channels: Of the record's images.

    Raises:
        ValueError: The picture has other channels, is smaller, or has another aspect ratio.
        DataError: It is missing or damaged.
    """
    if prior == "gray":
        return torch.full((1, channels, *spatial_size), 0.5)
    if prior in NAMED:
        usual = "cxr" if len(spatial_size) == 2 else next(iter(VOLUMES))
        return mean_phantom(prior.partition(":")[2] or usual, spatial_size, channels)
    if not Path(prior).exists():
        raise ValueError(
            f"Prior {prior!r} is neither a file nor one of {', '.join(NAMED)}: the attack has "
            "nothing to start from. Make one of public images with `medleak prior`."
        )
    if len(spatial_size) == 3:
        return load_volume(prior, spatial_size, channels)[None]
    return _picture(Path(prior), spatial_size, channels)


def mean_image(items: Sequence[Item], spatial_size: tuple[int, ...], channels: int) -> Tensor:
    """Mean of the images of ``items``, loaded as a client loads them: [1, C, *size] in [0, 1].

    Memory is bounded: a few dozen images are held at a time.

    Raises:
        ValueError: There are no items.
        DataError: An image is missing or damaged.
    """
    if not items:
        raise ValueError("A prior is the mean of at least one image, and there is none.")
    total = torch.zeros(1, channels, *spatial_size, dtype=torch.float64)
    for start in range(0, len(items), _IMAGES_AT_ONCE):
        part = list(items[start : start + _IMAGES_AT_ONCE])
        images, _ = load_images(part, spatial_size=spatial_size, channels=channels)
        total += images.double().sum(0, keepdim=True)
    return (total / len(items)).float().clamp(0, 1)


def mean_phantom(modality: str, spatial_size: tuple[int, ...], channels: int) -> Tensor:
    """Mean of phantoms that no job trains on: [1, C, *size] in [0, 1].

    Colour becomes gray by its mean where there are other channels than three.

    Raises:
        ValueError: The modality is unknown, or not of as many dimensions.
    """
    total = np.zeros(1)
    count = _PHANTOMS if modality in MODALITIES else _PHANTOM_VOLUMES
    for item in listing(count, _PHANTOM_SEED, modality):
        pixels, _ = phantom(modality, item.image, spatial_size, _PHANTOM_SEED)
        total = total + pixels.astype(np.float64) / 255
    mean = torch.from_numpy(total / count).float()
    mean = mean[None] if mean.ndim == len(spatial_size) else mean.movedim(-1, 0)
    if channels != len(mean):
        mean = mean.mean(0, keepdim=True)
    return mean.expand(channels, *spatial_size)[None].contiguous()


def public_items(source: Path) -> list[Item]:
    """Images to take a mean of: all sections of a datalist, or all in and below a folder.

    Raises:
        DataError: There are none, there are masks among them, or something cannot be read.
    """
    if source.is_file():
        return [item for section in load_datalist(source).values() for item in section]
    if not source.is_dir():
        what = "is not a folder" if source.exists() else "does not exist"
        raise DataError(f"Data {str(source)!r} {what}: there is no image to take a mean of.")
    items = read_images(source)
    refuse_masks(source, [item.image for item in items])
    if masks := [i for i in items if any(map(holds_masks, i.image.split("/")[:-1]))]:
        raise DataError(
            f"Folder {str(source)!r} holds masks among its images ({masks[0].image!r}): a prior "
            "would be the mean of both. Name the folder of the images alone."
        )
    return [Item(str(source / item.image), item.label, item.patient) for item in items]


def _picture(path: Path, spatial_size: tuple[int, ...], channels: int) -> Tensor:
    picture = open_image(path)
    has = {"L": 1, "RGB": 3}.get(picture.mode)
    if has is None:
        raise ValueError(
            f"Prior {str(path)!r} has pixels of mode {picture.mode}: only plain 8-bit gray and RGB "
            "pictures are read. Convert it, or make one with `medleak prior`."
        )
    if has != channels:
        raise ValueError(
            f"Prior {str(path)!r} has {has} channel(s), the record's images {channels}: the start "
            f"would be of another kind. Make one with `medleak prior --channels {channels}`."
        )
    height, width = spatial_size
    high, wide = read_image(path).shape[:2]  # upright
    if high < height or wide < width:
        raise ValueError(
            f"Prior {str(path)!r} is {high} x {wide} px, smaller than the "
            f"record's {height} x {width}: blown up it would resemble no image, and RDLV, which "
            "divides by that resemblance, would be flattered. Make one with `medleak prior --size "
            f"{max(spatial_size)}`."
        )
    if abs(high * width - wide * height) > max(high, wide):
        raise ValueError(
            f"Prior {str(path)!r} is {high} x {wide} px, the record's images "
            f"{height} x {width}: another aspect ratio, so anatomy would not lie on anatomy. Make "
            "one with `medleak prior`."
        )
    pixels = torch.from_numpy(decode(path, (height, width), 1 if channels == 1 else 3))
    return pixels.permute(2, 0, 1)[None].float() / 255
