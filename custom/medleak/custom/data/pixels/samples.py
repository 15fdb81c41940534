"""What an image file holds before any rule is applied: stored values and what they mean."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNUSABLE = "it cannot be trained on. Mend, replace or remove it."


class UnreadableError(Exception):
    """A file's pixels are not to be had; the message goes on after the file's name.

    It quotes no text of the file's header.
    """

    def __init__(self, what: str, advice: str = UNUSABLE) -> None:
        """``what`` is so, and therefore ``advice``."""
        super().__init__(f"{what}: {advice}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Stored values of one image and what they mean.

    Attributes:
        values: Gray [H, W] or RGB [H, W, 3], of any integer or real type, at full depth, in the
            order in which they are stored (`orientation` is not carried out).
        bits: Of an unsigned value: black is 0 and white ``2**bits - 1``. None: black and white are
            not said by the file (signed and real values).
        alpha: [H, W] in [0, 1]: 0 is transparent. None: nothing is.
        premultiplied: ``values`` are multiplied by ``alpha`` already.
        inverted: Black and white change places (white is zero).
        orientation: As of EXIF and TIFF, 1 to 8.
        indices: [H, W], of an image with a palette: what an annotator set.
        lossy: Compression may have changed values.
    """

    values: NDArray[Any]
    bits: int | None
    alpha: NDArray[np.float32] | None = None
    premultiplied: bool = False
    inverted: bool = False
    orientation: int = 1
    indices: NDArray[Any] | None = None
    lossy: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as stored."""
        return self.values.shape[1], self.values.shape[0]

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height once the orientation is carried out."""
        width, height = self.size
        return (height, width) if self.orientation >= 5 else (width, height)


def upright(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """``array`` [H, W, …] turned as ``orientation`` asks; 1 and unknown numbers leave it alone.

    The number says at which edges of the scene the stored row 0 and column 0 are (EXIF 3.0,
    4.6.5.1.6; TIFF 6.0, tag 274).
    """
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array
