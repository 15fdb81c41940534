"""Volumes in NIfTI files: read as they lie in the patient, at the size and channels asked for.

A volume is [H, W, D]: rows from front to back, columns from the patient's right to his left, slices
from feet to head, wherever the file's own axes point. nibabel waits until a function is called.
"""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medleak.custom.data.data_error import DataError
from medleak.custom.data.quiet import quiet
from medleak.filters import storage

if TYPE_CHECKING:
    from torch import Tensor


def read_volume(path: str | Path) -> NDArray[np.uint8]:
    """The volume in the NIfTI file ``path``: uint8 [H, W, D, C].

    Raises:
        DataError: nibabel is not installed; the file is missing, damaged, no volume, or not of
            8 bits, so that its black and white are unknown. The message quotes no header.
    """
    if importlib.util.find_spec("nibabel") is None:
        raise DataError(
            f"Volume {str(path)!r} is not read without nibabel. Install it: pip install "
            "'medleak[nifti]'."
        )
    import nibabel

    try:
        with quiet("nibabel"):
            file: Any = nibabel.as_closest_canonical(nibabel.load(path))
            values = np.asarray(file.dataobj)
    except FileNotFoundError:
        raise DataError(
            f"Volume {str(path)!r} does not exist: it cannot be used. Correct the list."
        ) from None
    except Exception as error:  # damaged files make parsers raise nearly anything
        raise DataError(
            f"Volume {str(path)!r} is damaged or no NIfTI file ({type(error).__name__}): it cannot "
            "be used. Mend, replace or remove it."
        ) from None
    if values.ndim not in (3, 4) or not values.size:
        raise DataError(
            f"Volume {str(path)!r} has {values.ndim} axes: three, and a fourth of channels, are "
            "read. Save one volume a file."
        )
    if values.dtype != np.uint8:
        raise DataError(
            f"Volume {str(path)!r} has values of type {values.dtype}: which of them are black and "
            "white is unknown. Save it in 8 bits between those that the site trains with."
        )
    # Canonical axes point to the patient's right, front and head.
    turned = values[::-1, ::-1].swapaxes(0, 1)
    return np.ascontiguousarray(turned if turned.ndim == 4 else turned[..., None])


def save_volume(path: Path, volume: NDArray[np.uint8]) -> None:
    """Write ``volume``, uint8 [H, W, D], to the NIfTI file ``path``; whole or not at all.

    For its owner only, with voxels of 1 mm and nothing else in the header.

    Raises:
        DataError: nibabel is not installed.
        OSError: It cannot be written.
    """
    if importlib.util.find_spec("nibabel") is None:
        raise DataError("Volumes are not written without nibabel: pip install 'medleak[nifti]'.")
    import nibabel

    file = nibabel.Nifti1Image(np.ascontiguousarray(volume.swapaxes(0, 1)[::-1, ::-1]), np.eye(4))
    with storage.replacing(path, wait=False) as part:
        part.write_bytes(file.to_bytes())


def load_volume(path: str | Path, spatial_size: tuple[int, int, int], channels: int) -> "Tensor":
    """The volume in ``path`` as float32 [C, H, W, D] in [0, 1].

    One of another size is resampled: averaged where it shrinks, trilinear where it grows. One
    channel is repeated.

    Raises:
        DataError: As `read_volume`, or it has other channels.
    """
    import torch
    from torch.nn import functional

    values = torch.from_numpy(read_volume(path)).permute(3, 0, 1, 2).float() / 255
    if len(values) not in (1, channels):
        raise DataError(
            f"Volume {str(path)!r} has {len(values)} channels instead of {channels}: which is "
            "which is not known. Save those that the network takes."
        )
    values = values.expand(channels, *values.shape[1:])[None]
    if values.shape[2:] != torch.Size(spatial_size):
        shrinks = all(a >= b for a, b in zip(values.shape[2:], spatial_size, strict=True))
        values = (
            functional.interpolate(values, size=spatial_size, mode="area")
            if shrinks
            else functional.interpolate(values, size=spatial_size, mode="trilinear")
        )
    return values[0].clamp(0, 1).contiguous()
