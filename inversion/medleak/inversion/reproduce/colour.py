"""Colour statistics of a data set: MedPFL's argument why medical images leak under more noise."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from medleak.custom.data.datalist import Item
from medleak.custom.data.transforms import load_images

_IMAGES_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class ColourStatistics:
    """Mean and standard deviation of each channel over all pixels of all images, in [0, 1].

    Attributes:
        mean: Of each channel.
        std: Likewise, over the population.
        n: Images.
        spatial_size: (H, W) that they were loaded at: each image has the same weight.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    n: int
    spatial_size: tuple[int, int]


def colour_statistics(
    items: Sequence[Item],
    spatial_size: tuple[int, int] = (224, 224),
    channels: Literal[1, 3] = 3,
) -> ColourStatistics:
    """The line of MedPFL's Table IV for the images of ``items``; a few dozen are held at a time.

    Shrinking an image averages its noise away and so lowers the standard deviation a little:
    compare data sets at one size, none above the images' own.

    Raises:
        ValueError: There are no images.
        DataError: An image is missing or damaged.

    Source: Das et al., MedPFL, Table IV.
    """
    if not items:
        raise ValueError("Colour statistics are of at least one image, and there is none.")
    mean = torch.zeros(channels, dtype=torch.float64)
    squares = torch.zeros(channels, dtype=torch.float64)
    seen = 0
    for start in range(0, len(items), _IMAGES_AT_ONCE):
        part = items[start : start + _IMAGES_AT_ONCE]
        images, _ = load_images(part, spatial_size=spatial_size, channels=channels)
        pixels = images.double().transpose(0, 1).flatten(1)
        n = pixels.shape[1]
        # Chan et al. 1983, eq. 2.1: sums of squares of the pixels themselves would cancel.
        variance, batch_mean = torch.var_mean(pixels, dim=1, correction=0)
        step = batch_mean - mean
        squares += n * variance + step**2 * seen * n / (seen + n)
        mean += step * n / (seen + n)
        seen += n
    std = (squares / seen).sqrt()
    return ColourStatistics(tuple(mean.tolist()), tuple(std.tolist()), len(items), spatial_size)
