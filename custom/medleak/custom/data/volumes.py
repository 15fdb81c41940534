"""Volumes: NIfTI files to voxels in one orientation, with their spacing and nothing else.

The axes are [C, D, H, W]: D runs from feet to head, H from back to front, W from the patient's left
to the right (RAS, slowest axis last to first). Of the header, only what says where and how large
voxels are is used; no text of it is kept or quoted. nibabel (extra ``nifti``) waits until a
function is called. What a network is trained on is a picture with a third axis, [C, H, W, D]:
`load_volume`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medleak.custom.data.data_error import DataError
from medleak.custom.data.images import check_window
from medleak.custom.data.quiet import quiet
from medleak.filters import storage

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Image
    from torch import Tensor

LARGEST = 2**28
"""Values of a volume at most: a gibibyte as float32. A header may promise anything."""
PERCENTILES = (0.5, 99.5)
_MILLIMETRES = {"unknown": 1.0, "mm": 1.0, "meter": 1000.0, "micron": 0.001}


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """Voxels and their size.

    Attributes:
        values: float32 [C, D, H, W] in [0, 1].
        spacing: Of D, H, W in mm.
    """

    values: NDArray[np.float32]
    spacing: tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Labels of voxels, int64 [D, H, W], and the voxels' size of D, H, W in mm."""

    values: NDArray[np.int64]
    spacing: tuple[float, float, float]


def read_volume(path: str | Path, window: tuple[float, float] | None = None) -> Volume:
    """The volume in the NIfTI file ``path``, turned to the nearest axes; nothing is resampled.

    Args:
        path: ``.nii`` or ``.nii.gz``; a fourth axis is channels, as are the colours of RGB.
        window: Values (after the header's slope and intercept) that become 0 and 1. None: of each
            channel, its 0.5th and 99.5th percentile; a channel of one value is 0.

    Raises:
        DataError: nibabel is not installed; the file is damaged, too large, complex, holds values
            that are not finite, or does not say how it lies.
        ValueError: ``window`` is empty.
    """
    if window is not None:
        check_window(*window)
    values, spacing = _read(Path(path))
    scaled = np.empty(values.shape, np.float32)
    for k, channel in enumerate(values):
        low, high = np.percentile(channel, PERCENTILES) if window is None else window
        if low < high:
            np.clip((channel - low) / (high - low), 0, 1, out=scaled[k])
        else:
            scaled[k] = 0
    return Volume(values=scaled, spacing=spacing)


def read_labels(path: str | Path) -> Labels:
    """The labels in the NIfTI file ``path``, turned as `read_volume` turns its image.

    They are neither scaled by a window nor interpolated.

    Raises:
        DataError: As `read_volume`; several channels, or a value that is no whole number.
    """
    values, spacing = _read(Path(path))
    if len(values) != 1:
        raise _refusal(Path(path), f"holds {len(values)} channels instead of one label a voxel")
    labels = np.rint(values[0])
    if not np.array_equal(labels, values[0]):
        raise _refusal(Path(path), "holds values that are no whole numbers: they are no labels")
    return Labels(values=labels.astype(np.int64), spacing=spacing)


def load_volume(path: str | Path, spatial_size: tuple[int, int, int], channels: int) -> "Tensor":
    """The volume in the NIfTI file ``path`` as a client trains on it: [C, H, W, D] in [0, 1].

    Rows run from front to back, columns from the patient's right to the left, slices from feet to
    head. Files of 8 bits have 255 as white, others are windowed as `read_volume` does. One of
    another size is resampled: averaged where it shrinks, trilinear where it grows. One channel is
    repeated.

    Raises:
        DataError: As `read_volume`, or it has other channels.
    """
    import torch
    from torch.nn import functional

    path = Path(path)
    values = torch.from_numpy(read_volume(path, (0, 255) if _is_of_8_bits(path) else None).values)
    values = values.permute(0, 2, 3, 1).flip(1, 2)
    if len(values) not in (1, channels):
        raise _refusal(path, f"has {len(values)} channels instead of {channels}")
    values = values.expand(channels, *values.shape[1:])[None]
    if values.shape[2:] != torch.Size(spatial_size):
        shrinks = all(a >= b for a, b in zip(values.shape[2:], spatial_size, strict=True))
        mode = "area" if shrinks else "trilinear"
        values = functional.interpolate(values, size=spatial_size, mode=mode)
    return values[0].clamp(0, 1).contiguous()


def save_volume(path: Path, volume: NDArray[np.uint8]) -> None:
    """Write ``volume``, uint8 [H, W, D] as `load_volume` has it, to the NIfTI file ``path``.

    Whole or not at all, for its owner only, with voxels of 1 mm and nothing else in the header.

    Raises:
        DataError: nibabel is not installed.
        OSError: It cannot be written.
    """
    values = np.ascontiguousarray(volume.swapaxes(0, 1)[::-1, ::-1])
    file = _nibabel().Nifti1Image(values, np.eye(4))
    with storage.replacing(path, wait=False) as part:
        part.write_bytes(file.to_bytes())


def _nibabel() -> Any:
    try:
        from nibabel import nifti1
    except ImportError:
        raise DataError(
            "NIfTI files need nibabel, which is not installed: their voxels cannot be read. Run "
            "pip install 'medleak[nifti]'."
        ) from None
    return nifti1


def _is_of_8_bits(path: Path) -> bool:
    """Of values as they lie in the file; False where `read_volume` will say what is wrong."""
    try:
        image = _nibabel().Nifti1Image.from_filename(str(path))
    except DataError:
        raise
    except Exception:
        return False
    scaled = image.header.get_slope_inter() not in ((None, None), (1.0, 0.0))
    kind = np.dtype(image.get_data_dtype())
    return not scaled and (kind == np.uint8 or kind.fields is not None)  # fields: RGB


def _read(path: Path) -> tuple[NDArray[np.float64], tuple[float, float, float]]:
    """Values [C, D, H, W] and spacing (D, H, W) in mm."""
    nifti = _nibabel().Nifti1Image
    if not path.is_file():
        raise _refusal(path, "does not exist" if not path.exists() else "is not a file")
    with quiet("nibabel"):
        try:
            image = nifti.from_filename(str(path))
            _check(path, image)
            values, affine = _canonical(_voxels(image), np.asarray(image.affine, np.float64))
        except DataError:
            raise
        except Exception as error:  # nibabel's errors may quote the header
            raise _refusal(path, f"is no sound NIfTI file ({type(error).__name__})") from None
    if not np.isfinite(values).all():
        raise _refusal(path, "holds values that are not finite")
    unit = _MILLIMETRES.get(str(image.header.get_xyzt_units()[0]), 0.0)
    # Of columns: an axis that is not quite along the patient's keeps its voxels' length.
    right, front, up = (float(step) for step in np.linalg.norm(affine[:3, :3], axis=0) * unit)
    if not all(np.isfinite(step) and step > 0 for step in (right, front, up)):
        raise _refusal(path, "has voxels without a size")
    return np.ascontiguousarray(values.transpose(3, 2, 1, 0)), (up, front, right)


def _check(path: Path, image: "Nifti1Image") -> None:
    """Refuse what is too large, has too many axes, or says nothing or two things of how it lies."""
    from nibabel.orientations import aff2axcodes

    shape = image.shape
    if not 2 <= len(shape) <= 4 and any(n != 1 for n in shape[4:]):
        raise _refusal(path, f"has {len(shape)} axes instead of three and channels")
    if len(shape) < 2 or min(shape) < 1 or np.prod(shape, dtype=float) > LARGEST:
        raise _refusal(path, f"has no voxels, or more than {LARGEST}")
    if np.dtype(image.get_data_dtype()).kind == "c":
        raise _refusal(path, "holds complex values")
    stated = [
        aff2axcodes(affine)
        for affine, code in (image.get_sform(coded=True), image.get_qform(coded=True))
        if affine is not None and code
    ]
    if not stated:
        raise _refusal(
            path, "states no orientation (sform and qform codes are 0): left may be right"
        )
    if len(set(stated)) > 1 or None in stated[0]:
        raise _refusal(path, "states two different orientations (sform and qform), or half of one")


def _voxels(image: "Nifti1Image") -> NDArray[np.float64]:
    """Values as [X, Y, Z, C] in the order of the file."""
    raw: NDArray[Any] = np.asanyarray(image.dataobj)
    if raw.dtype.fields:  # RGB or RGBA, one record a voxel
        names = [name for name in ("R", "G", "B") if name in raw.dtype.fields]
        raw = np.stack([raw[name] for name in names], -1)
    values = np.asarray(raw, np.float64)
    values = values.reshape(*values.shape[:2], *([1] * (3 - values.ndim)), *values.shape[2:])
    return values.reshape(*values.shape[:4]) if values.ndim > 3 else values[..., None]


def _canonical(
    values: NDArray[np.float64], affine: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``values`` [X, Y, Z, C] with axes to the right, the front and the head, and their affine."""
    from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

    orientation = io_orientation(affine)
    turned = np.asarray(apply_orientation(values, orientation))
    return turned, affine @ inv_ornt_aff(orientation, values.shape[:3])


def _refusal(path: Path, what: str) -> DataError:
    return DataError(
        f"Volume {str(path)!r} {what}: it cannot be trained on. Mend, replace or remove it."
    )
