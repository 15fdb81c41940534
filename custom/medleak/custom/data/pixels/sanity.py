"""What is odd about pictures that were read without an error: a look at what came out.

A glance is taken of each picture; `oddities` compares them with what a picture can hold and with
each other, and counts, so that ten thousand files give one line.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

THUMBNAIL = 16
_FAINT = 16
"""A sixteenth of the 256 values that a picture can hold."""
_SIBLINGS = 8
"""Fewer pictures have no usual look that one of them could differ from."""
_ORDER = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """One picture in a few numbers, of its brightness in values of 0 to 255.

    Attributes:
        least: The smallest value.
        most: The largest.
        low: A value that half a percent of the points are below: a burned-in label is not it.
        high: A value that half a percent are above.
        mean: Of all points.
        thumbnail: uint8 [16, 16].
    """

    least: int
    most: int
    low: int
    high: int
    mean: float
    thumbnail: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Oddity:
    """Pictures that have one odd thing in common, and where they are in the sequence.

    Attributes:
        what: Goes on after "12 images".
        likely: What it usually comes from.
        places: Of them, rising.
    """

    what: str
    likely: str
    places: tuple[int, ...]


def glance(pixels: NDArray[np.uint8]) -> Glance:
    """The glance of a picture, uint8 [H, W] or [H, W, 3] as a reader shows it."""
    image = Image.fromarray(pixels).convert("L")
    histogram = np.array(image.histogram())
    held = np.flatnonzero(histogram)
    below = np.cumsum(histogram) / histogram.sum()
    return Glance(
        least=int(held[0]),
        most=int(held[-1]),
        low=int(np.searchsorted(below, 0.005, side="right")),
        high=int(np.searchsorted(below, 0.995)),
        mean=float(np.arange(256) @ histogram / histogram.sum()),
        thumbnail=np.asarray(image.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)),
    )


def oddities(glances: Sequence[Glance]) -> list[Oddity]:
    """What is odd about some of the pictures, each named under the first reason that fits.

    - One value alone: nothing can be seen.
    - Less than a sixteenth of the range, but for a percent of the points: nearly black, or white.
    - Negative: against the common look of the others, where they have one (of eight pictures).
    - Ten times as bright or as dark as the middle one of them.
    """
    reasons = {
        "hold one value alone": ("an empty file, or a window beside their values", _constant),
        "use less than a sixteenth of the range": ("12 bits in 16, or a missing window", _faint),
        "are negatives of the others": ("black and white exchanged", _negative),
        "are ten times as bright or as dark as the others": (
            "another bit depth or a missing window",
            _unlike,
        ),
    }
    left = np.arange(len(glances))
    found = []
    for what, (likely, holds) in reasons.items():
        # Those that are odd already are no siblings to compare with.
        hit = holds([glances[int(k)] for k in left])
        if hit.any():
            places = tuple(int(k) for k in left[hit])
            found.append(Oddity(what=what, likely=likely, places=places))
        left = left[~hit]
    return found


def remark(found: Sequence[Oddity], names: Sequence[str]) -> str:
    """One line that counts ``found`` and names the first few, or "" where nothing is odd.

    Args:
        found: As of `oddities`.
        names: Of all the pictures, in their order.
    """
    if not found:
        return ""
    parts = []
    for oddity in found:
        first = ", ".join(repr(names[k]) for k in oddity.places[:3])
        more = "" if len(oddity.places) <= 3 else ", …"
        parts.append(
            f"{len(oddity.places):,} {oddity.what} (likely {oddity.likely}; {first}{more})"
        )
    return f"Of {len(names):,} images, {'; '.join(parts)}. Look at them before you train on them."


def _constant(glances: Sequence[Glance]) -> NDArray[np.bool_]:
    return np.array([g.least == g.most for g in glances], bool)


def _faint(glances: Sequence[Glance]) -> NDArray[np.bool_]:
    return np.array([g.high - g.low < _FAINT for g in glances], bool)


def _negative(glances: Sequence[Glance]) -> NDArray[np.bool_]:
    """Thumbnails that go against their median, where most go with it."""
    plain = np.array([g.thumbnail.ravel() for g in glances], np.float64)
    if len(plain) < _SIBLINGS:
        return np.zeros(len(glances), bool)
    common = np.median(plain, 0)
    common -= common.mean()
    plain -= plain.mean(1, keepdims=True)
    scale = np.linalg.norm(plain, axis=1) * np.linalg.norm(common)
    alike = np.divide(plain @ common, scale, out=np.zeros(len(plain)), where=scale > 0)
    return (alike < -0.5) if np.median(alike) > 0.5 else np.zeros(len(glances), bool)


def _unlike(glances: Sequence[Glance]) -> NDArray[np.bool_]:
    means = np.array([g.mean for g in glances])
    if len(means) < _SIBLINGS:
        return np.zeros(len(glances), bool)
    # A value more, so that black images have no infinite ratio.
    share = (means + 1) / (np.median(means) + 1)
    return (share >= _ORDER) | (share <= 1 / _ORDER)
