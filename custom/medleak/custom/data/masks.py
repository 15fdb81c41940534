"""Segmentation sets: a folder ``images/`` beside a folder ``masks/``, and the masks' pixels.

A mask is one image of the same size and name (its suffix may differ): what is not zero is the
structure. torch waits until `load_masks` is called.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Unpack

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medleak.custom.data.datalist import PATIENT_PATTERN, DataError, Item
from medleak.custom.data.folders.classes import read_folders, read_images
from medleak.custom.data.image_files import Search, sub_folders
from medleak.custom.data.pixels.reading import read_mask

if TYPE_CHECKING:
    from torch import Tensor


def read_masked(
    data_root: str | Path,
    classes: Sequence[str] | None = None,
    patient_pattern: str = PATIENT_PATTERN,
    **search: Unpack[Search],
) -> tuple[list[Item], tuple[str, ...]]:
    """The images below ``data_root/images`` with their masks below ``data_root/masks``.

    Args:
        data_root: Folder with ``images`` and ``masks``.
        classes: Sub-folders of ``images`` to use, label k the k-th. None: all of them, sorted. An
            ``images`` without sub-folders is one class, whatever is asked for.
        patient_pattern: See `datalist.patient_of`.
        search: As of `image_files.find_images`; for images and masks.

    Returns:
        Items, files relative to ``data_root`` with forward slashes, and the class names.

    Raises:
        DataError: A folder is missing, an image has no mask or two, or as `classes.read_folders`.
    """
    root = Path(data_root)
    for name in ("images", "masks"):
        if not (root / name).is_dir():
            raise DataError(
                f"data_root {str(root)!r} has no folder {name!r}: a segmentation set needs images "
                "and masks. Put the images into images/ and each one's mask, under the same name, "
                "into masks/."
            )
    within = root / "images"
    if sub_folders(within, search.get("leave_out")):
        items, names = read_folders(within, classes, patient_pattern, **search)
    else:
        items, names = read_images(within, patient_pattern, **search), ("all",)
    masks = _by_stem(read_images(root / "masks", patient_pattern, **search))
    return [_with_mask(item, masks, root) for item in items], names


def _by_stem(items: Sequence[Item]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for item in items:
        found.setdefault(_stem(item.image), []).append(item.image)
    return found


def _stem(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix()


def _with_mask(item: Item, masks: dict[str, list[str]], root: Path) -> Item:
    found = masks.get(_stem(item.image), [])
    if len(found) != 1:
        raise DataError(
            f"Image {item.image!r} in {str(root / 'images')!r} has {len(found)} masks: what to "
            f"segment in it is unknown. Keep one file {_stem(item.image)!r} with any image suffix "
            "in masks/."
        )
    return replace(item, image=f"images/{item.image}", mask=f"masks/{found[0]}")


def load_masks(
    items: Sequence[Item],
    *,
    spatial_size: tuple[int, int],
    data_root: str | Path = "",
    section: str = "",
) -> "Tensor":
    """The masks of ``items``: float32 [N, 1, H, W] of 0 and 1, in their order.

    Resized by area, so that a point is 1 where at least half of it is.

    Args:
        items: Items with masks, relative to ``data_root`` or absolute.
        spatial_size: (H, W) of the result.
        data_root: Folder of relative files.
        section: As of `transforms.load_images`.

    Raises:
        DataError: An item has no mask, the mask is no sound image, or its size is not the image's.
    """
    import torch

    masks = torch.empty((len(items), 1, *spatial_size))
    for k, item in enumerate(items):
        try:
            mask = _decode(item, Path(data_root), spatial_size)
        except DataError as error:
            if section:
                raise DataError(f"{section}[{k}]: {error.for_log()}") from None
            raise
        masks[k, 0] = torch.from_numpy(mask).float()
    return masks


def _decode(item: Item, root: Path, spatial_size: tuple[int, int]) -> NDArray[np.bool_]:
    if not item.mask:
        raise DataError(
            f"Image {item.image!r} has no mask: a segmentation cannot learn from it. Add 'mask' to "
            "its entry in the datalist, or leave it out."
        )
    mask = read_mask(root / item.mask, root / item.image)
    found = Image.fromarray(np.where(mask, 255, 0).astype(np.uint8))
    height, width = spatial_size
    if found.size != (width, height):
        found = found.resize((width, height), Image.Resampling.BOX)
    return np.asarray(found) >= 128
