"""The one rule by which stored values become what is shown: window, polarity, alpha, orientation.

Every image file and every DICOM file goes through `shown`, every mask through `structure`.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medleak.custom.data.images import windowed
from medleak.custom.data.pixels.samples import Samples, UnreadableError, upright

Window = tuple[float, float]
_FAINT = 1 / 16
_SAY_WINDOW = (
    "which values are black and white is unknown. Say so once by `medleak data folder DIR "
    "--window BLACK:WHITE`."
)


def shown(samples: Samples, window: Window | None = None) -> NDArray[np.uint8]:
    """What a viewer shows of ``samples``: uint8, upright, [H, W] or [H, W, 3].

    In this order: window, polarity, alpha (transparent is black), orientation. The window is
    ``window``, in stored values and equal for all three colours, else black is 0 and white the
    largest value of the stored bits.

    Raises:
        UnreadableError: Black and white are unknown (see `_range`), ``window`` is given for colour
            of 8 bits, which has its black and white, or a value is not finite.
    """
    values = samples.values
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise UnreadableError(
            "holds values that are not finite",
            "they are neither black nor white. Replace them by numbers.",
        )
    alpha = None if samples.alpha is None else samples.alpha.astype(np.float64)
    if alpha is not None and values.ndim == 3:
        alpha = alpha[..., None]
    if alpha is not None and samples.premultiplied:
        values = np.divide(values, alpha, out=np.zeros(values.shape), where=alpha > 0)
    if window is None and values.dtype == np.uint8 and samples.bits == 8:
        image = values
    else:
        image = windowed(values, *(_range(samples) if window is None else _own(samples, window)))
    if samples.inverted:
        image = 255 - image
    if alpha is not None:
        image = np.rint(image * alpha).astype(np.uint8)
    return np.ascontiguousarray(upright(image, samples.orientation))


def structure(samples: Samples) -> NDArray[np.bool_]:
    """Where a mask's structure is, [H, W], as stored: whatever is not black, in any channel.

    A palette counts by its indices, a transparent point is none. Nothing is scaled, so that 1 in 16
    bits is as good as 65535. Where compression blurs edges, half of white is the border.

    Raises:
        UnreadableError: A lossy mask holds something, but nothing that is half white: its values
            are labels, which the compression has mixed.
    """
    if samples.values.dtype.kind == "f" and not np.isfinite(samples.values).all():
        raise UnreadableError("holds values that are not finite")
    if samples.lossy:
        values = shown(replace(samples, orientation=1))
        values = values.max(-1) if values.ndim == 3 else values
        if 0 < values.max() < 128:
            raise UnreadableError(
                f"holds values up to {values.max()} in lossy compression",
                "labels were mixed where they touch. Export the mask as PNG.",
            )
        return values >= 128
    if samples.indices is not None:
        return samples.indices != 0
    black = 2**samples.bits - 1 if samples.inverted and samples.bits else 0
    found = samples.values != black
    if found.ndim == 3:
        found = found.any(-1)
    return found if samples.alpha is None else found & (samples.alpha > 0)


def full_range(values: NDArray[Any], bits: int) -> bool:
    """Whether unsigned ``values`` in a container of ``bits`` use what it can hold.

    A detector's 12 or 14 bits in 16 do not: shown over the whole range they would be black. Nor do
    they with a burned-in label of full white: half a percent may be that.
    """
    low, high = np.percentile(values, (0.5, 99.5))
    return bool(values.max() >= 2 ** (bits - 1) and high - low >= _FAINT * 2**bits) or bool(
        low >= 2 ** (bits - 1)
    )


def _range(samples: Samples) -> Window:
    """Black and white as the file says them.

    Known are unsigned values of up to 15 bits, where the file states the number, and 16 bits that
    are used (`full_range`). Signed and real values, 16 bits half empty, and more bits are not.
    """
    bits, values = samples.bits, samples.values
    if bits is not None and (bits < 16 or (bits == 16 and full_range(values, bits))):
        return 0, 2**bits - 1
    raise UnreadableError(
        f"has more than 8 bits a channel ({_kind(samples)}, values {values.min():g} to "
        f"{values.max():g})",
        _SAY_WINDOW,
    )


def _own(samples: Samples, window: Window) -> Window:
    if samples.indices is not None or (samples.values.ndim == 3 and samples.bits == 8):
        raise UnreadableError(
            "is colour of 8 bits",
            "a window is for gray values, and for colour of more bits. Leave --window out, or "
            "convert the image to gray.",
        )
    return window


def _kind(samples: Samples) -> str:
    colour = "RGB" if samples.values.ndim == 3 else "gray"
    return f"{colour}, {samples.values.dtype.name}"
