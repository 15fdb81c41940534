"""What augmentation makes of an image before the network sees it: a transformation, and its words.

Only what the network saw can have left the site. Training turns, flips, crops and brightens images,
so an image that came back is compared with the listed one under these transformations;
`medleak.inversion.measures.registration` finds them.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Border = Literal["constant", "border", "reflection"]
BORDERS: tuple[Border, ...] = ("constant", "border", "reflection")
"""What augmentations put where the image ends: one value (black as a rule), its edge, its mirror
image."""

MOST_DEGREES = 30.0
LEAST_ZOOM, MOST_ZOOM = 0.75, 2.0
MOST_STRETCH = 4 / 3
LEAST_GAIN, MOST_GAIN = 0.7, 1.4
MOST_OFFSET = 0.25
# The limits: those of the usual augmentations. torchvision's references rotate by up to 30 degrees
# and crop with an aspect ratio of 3/4 to 4/3; MONAI's tutorials zoom by 0.8 to 1.2 and scale
# intensities by up to 0.3; a crop to half of the side is what a lung or a lesion still survives.

# From here on a change is worth a word: less than this nobody would see.
_DEGREES, _ZOOM, _SHIFT_PX, _GAIN, _OFFSET = 0.5, 0.01, 0.25, 0.02, 0.01

_SYMMETRIES = {
    (0, True): "flipped left-right",
    (1, False): "turned by 90°",
    (1, True): "flipped left-right, turned by 90°",
    (2, False): "turned by 180°",
    (2, True): "flipped top-bottom",
    (3, False): "turned by 270°",
    (3, True): "flipped left-right, turned by 270°",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Transformation:
    """From an image as it is listed to the image that a network may have seen.

    In this order: an affine map about the centre, a flip, quarter turns, intensities.

    Attributes:
        flip: Left to right.
        turns: Quarter turns counter-clockwise, after the flip.
        matrix: Row by row, of the map from a pixel that is seen to the pixel of the image that is
            shown there, both relative to the centre.
        shift: (x, y) px, added to it.
        border: What is shown where the image ends.
        fill: The value of a ``constant`` border.
        gain: Of the intensities; ``offset`` is added to them.
    """

    flip: bool = False
    turns: int = 0
    matrix: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 1.0)
    shift: tuple[float, float] = (0.0, 0.0)
    border: Border = "constant"
    fill: float = 0.0
    gain: float = 1.0
    offset: float = 0.0

    @property
    def degrees(self) -> float:
        """Rotation of the affine part, counter-clockwise."""
        a, b, c, d = self.matrix
        return math.degrees(math.atan2(c - b, a + d))

    @property
    def zoom(self) -> float:
        """Above 1 the image is seen enlarged, as by a crop; 0 where the map is degenerate."""
        a, b, c, d = self.matrix
        area = abs(a * d - b * c)
        return area**-0.5 if area > 0 else 0.0

    @property
    def stretch(self) -> float:
        """Ratio of the larger to the smaller magnification of the affine part."""
        a, b, c, d = self.matrix
        squares, area = a * a + b * b + c * c + d * d, abs(a * d - b * c)
        if area == 0:
            return math.inf
        half = squares / (2 * area)
        return half + math.sqrt(max(0.0, half * half - 1))

    @property
    def usual(self) -> bool:
        """Whether an augmentation in use does this; flips and turns all are."""
        return (
            abs(self.degrees) <= MOST_DEGREES
            and LEAST_ZOOM <= self.zoom <= MOST_ZOOM
            and self.stretch <= MOST_STRETCH
            and LEAST_GAIN <= self.gain <= MOST_GAIN
            and abs(self.offset) <= MOST_OFFSET
        )

    def __call__(self, images: Tensor) -> Tensor:
        """Images [N, C, H, W] as a network sees them, clipped to [0, 1].

        Raises:
            ValueError: A quarter turn of images that are not square.
        """
        if self.turns % 2 and images.shape[-1] != images.shape[-2]:
            raise ValueError(
                f"Images of {images.shape[-2]} x {images.shape[-1]} px change their shape in a "
                "quarter turn, and no network saw them so: turn square images alone."
            )
        found = images
        if self.matrix != (1.0, 0.0, 0.0, 1.0) or self.shift != (0.0, 0.0):
            found = self._moved(images)
        if self.flip:
            found = found.flip(-1)
        if self.turns:
            found = found.rot90(self.turns, (-2, -1))
        return (found * self.gain + self.offset).clamp(0, 1)

    def shown(self, height: int, width: int) -> Tensor:
        """Whether a pixel [H, W] shows the image, before flip and turns, and no border."""
        inside = functional.grid_sample(
            torch.ones(1, 1, height, width), self._grid(height, width), align_corners=False
        )
        return inside[0, 0] > 1 - 1e-3

    def undone(self, images: Tensor) -> Tensor:
        """``images`` without flip and turns: in the frame of the affine map."""
        found = images.rot90(-self.turns, (-2, -1)) if self.turns else images
        return found.flip(-1) if self.flip else found

    def __str__(self) -> str:
        """What was done, in words.

        Examples:
            >>> str(Transformation(flip=True))
            'flipped left-right'
            >>> str(Transformation(matrix=(0.8, 0, 0, 0.8), shift=(3, 0), gain=1.1))
            'zoomed by 1.25, shifted by (3.0, 0.0) px, intensity x 1.10 + 0.00'
        """
        words = [_SYMMETRIES.get((self.turns % 4, self.flip), "")]
        if abs(self.degrees) >= _DEGREES:
            words.append(f"rotated by {self.degrees:+.1f}°")
        if abs(math.log(self.zoom or 1.0)) >= _ZOOM:
            words.append(f"zoomed by {self.zoom:.2f}")
        if math.log(self.stretch) >= 2 * _ZOOM:
            words.append(f"stretched by {self.stretch:.2f}")
        if math.hypot(*self.shift) >= _SHIFT_PX:
            words.append("shifted by ({:.1f}, {:.1f}) px".format(*self.shift))
        if abs(self.gain - 1) >= _GAIN or abs(self.offset) >= _OFFSET:
            sign = "+" if self.offset >= 0 else "-"
            words.append(f"intensity x {self.gain:.2f} {sign} {abs(self.offset):.2f}")
        return ", ".join(filter(None, words)) or "moved by less than a pixel"

    def _moved(self, images: Tensor) -> Tensor:
        grid = self._grid(*images.shape[-2:]).to(images).expand(len(images), -1, -1, -1)
        if self.border != "constant":
            return functional.grid_sample(
                images, grid, padding_mode=self.border, align_corners=False
            )
        # Zeros are put outside: relative to the fill they are the fill.
        return self.fill + functional.grid_sample(images - self.fill, grid, align_corners=False)

    def _grid(self, height: int, width: int) -> Tensor:
        a, b, c, d = self.matrix
        # grid_sample counts in half sides.
        theta = torch.tensor(
            [
                [a, b * height / width, 2 * self.shift[0] / width],
                [c * width / height, d, 2 * self.shift[1] / height],
            ]
        )
        return functional.affine_grid(theta[None], [1, 1, height, width], align_corners=False)
