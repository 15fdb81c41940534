"""From files to pixels: MONAI dict transforms that keep no metadata, and the network's input.

torch and MONAI (seconds to import) wait until a function is called.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medleak.custom.data.datalist import DataError, Item
from medleak.custom.data.pixels.reading import read_image
from medleak.custom.data.volumes import load_volume

if TYPE_CHECKING:
    from monai.transforms.compose import Compose
    from torch import Tensor

# torchvision's ResNet-18 was trained with these, for RGB in [0, 1].
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def load_images(
    items: Sequence[Item],
    *,
    spatial_size: tuple[int, ...],
    channels: int = 1,
    data_root: str | Path = "",
    section: str = "",
) -> "tuple[Tensor, Tensor]":
    """The pixels that a client trains on, and that an audit compares with.

    Args:
        items: Images, relative to ``data_root`` or absolute.
        spatial_size: (H, W) of the result; (H, W, D): volumes, see `volumes.load_volume`.
        channels: 1 for gray (colour becomes luminance), 3 for RGB (gray is repeated); of volumes
            any number.
        data_root: Folder of relative images.
        section: Name of the list; an image that cannot be used is then told by its place, such as
            ``training[3]``, and not by its file, so that a job's log names no patient.

    Returns:
        Images, float32 [N, C, *spatial_size] in [0, 1], and labels, int64 [N], in the order of
        ``items``.

    Raises:
        DataError: An image cannot be used (see `decode` and `image_files.open_image`).
    """
    import torch

    load = _loader(tuple(spatial_size), channels)
    images = torch.empty((len(items), channels, *spatial_size))
    for k, item in enumerate(items):
        try:
            images[k] = load(Path(data_root) / item.image)
        except (RuntimeError, DataError) as error:
            # Compose wraps whatever a transform raises.
            cause = error if isinstance(error, DataError) else error.__cause__
            if not isinstance(cause, DataError):
                raise
            if section:
                raise DataError(f"{section}[{k}]: {cause.for_log()}") from None
            raise cause from None
    return images, torch.tensor([item.label for item in items], dtype=torch.int64)


def _loader(spatial_size: tuple[int, ...], channels: int) -> "Callable[[Path], Tensor]":
    """A file to [C, *spatial_size]."""
    if len(spatial_size) == 3:
        return partial(load_volume, spatial_size=spatial_size, channels=channels)
    transform: Any = image_transform(spatial_size, channels)
    return lambda path: transform({"image": str(path)})["image"]


@cache
def image_transform(spatial_size: tuple[int, ...], channels: int = 1) -> "Compose":
    """Dict transforms for ``{"image": file, …}``, keys ``image`` and ``label``.

    The image becomes a plain float32 tensor [C, H, W] in [0, 1], oriented as a viewer shows it.
    Nothing else of the file stays: no name, EXIF, comment, nor any other key of the dict.

    Raises:
        DataError: ``channels`` or ``spatial_size`` is out of range.
        RuntimeError: On use, by MONAI's Compose, from the DataError of `decode`.
    """
    if channels not in (1, 3) or len(spatial_size) != 2 or min(spatial_size) < 1:
        raise DataError(
            f"Images cannot be made {channels} channels of size {spatial_size}: the network takes "
            "gray or RGB images. Set channels to 1 or 3 and spatial_size to (height, width)."
        )
    from monai.transforms.compose import Compose
    from monai.transforms.intensity.dictionary import ScaleIntensityRanged
    from monai.transforms.utility.dictionary import (
        EnsureChannelFirstd,
        EnsureTyped,
        Lambdad,
        SelectItemsd,
    )

    # Not LoadImaged: it sets up every reader that is installed, and pydicom's warns of missing
    # plugins wherever it is; nor would it stop at the first that refuses a file.
    read = partial(decode, spatial_size=spatial_size, channels=channels)
    return Compose(
        [
            Lambdad(keys=("image",), func=read, track_meta=False),
            EnsureChannelFirstd(keys=("image",), channel_dim=-1),
            ScaleIntensityRanged(keys=("image",), a_min=0, a_max=255, b_min=0, b_max=1, clip=True),
            EnsureTyped(keys=("image",), track_meta=False),
            SelectItemsd(keys=("image", "label"), allow_missing_keys=True),
        ]
    )


def decode(
    path: str | Path, spatial_size: tuple[int, int], channels: Literal[1, 3]
) -> NDArray[np.uint8]:
    """The image in the file ``path`` as uint8 [H, W, C], resized to ``spatial_size``.

    What is shown of the file is `pixels.rule`'s to say; colour becomes gray by its luminance (ITU-R
    BT.601). Resized by Pillow's Lanczos filter, which averages when it shrinks: MONAI's ``Resized``
    blurs by a Gaussian first, and fine marks, which an attack may or may not find, would be gone.

    Raises:
        DataError: As `pixels.reading.read_image`.
    """
    return fitted(read_image(path), spatial_size, channels)


def fitted(
    pixels: NDArray[np.uint8], spatial_size: tuple[int, int], channels: Literal[1, 3]
) -> NDArray[np.uint8]:
    """``pixels``, uint8 [H, W] or [H, W, 3], as [H, W, C] of the size and channels asked for."""
    image = Image.fromarray(pixels).convert("L" if channels == 1 else "RGB")
    height, width = spatial_size
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    return np.array(image, np.uint8).reshape(height, width, channels)


def network_input(images: "Tensor", mean: Sequence[float], std: Sequence[float]) -> "Tensor":
    """Images in model units: gray repeated for the network's channels, then ``(x - mean) / std``.

    Differentiable; on the device and in the type of ``images``, which are not modified.

    Args:
        images: [N, C, H, W] in [0, 1], or volumes [N, C, H, W, D]; C is 1 or the network's.
        mean: Of each of the K network channels.
        std: Likewise, positive.

    Returns:
        [N, K, H, W], or [N, K, H, W, D].

    Raises:
        ValueError: A shape or value is out of range.
    """
    channels = len(mean)
    if not channels or len(std) != channels or not min(std) > 0 or not isfinite(sum(mean)):
        raise ValueError(
            f"mean and std must have one value for each network channel, std above 0, got {mean} "
            f"and {std}: the network's input would not be finite. Correct them in the job's input."
        )
    if images.ndim not in (4, 5) or images.shape[1] not in (1, channels):
        raise ValueError(
            f"Images must be [N, 1 or {channels}, H, W], got {list(images.shape)}: the network "
            f"takes batches of {channels} channels, as mean and std say. Add the missing axis, or "
            "correct them."
        )
    axes = images.ndim - 2
    shift, scale = (images.new_tensor(v).view(1, channels, *[1] * axes) for v in (mean, std))
    return (images.expand(-1, channels, *[-1] * axes) - shift) / scale
