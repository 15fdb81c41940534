"""The pixels of a DICOM dataset: stored values, rescaled values, and how its header shows them.

pydicom decodes; what the values mean is read here, since pydicom drops the upper bits of data that
is not in the lowest ones, and reads tables on this machine's byte order. No message quotes a
header. pydicom (extra ``dicom``) waits until a function is called.
"""

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medleak.custom.data.images import windowed
from medleak.custom.data.pixels.colour import from_ycbcr
from medleak.custom.data.pixels.dicom_tables import Table, palette, read_table
from medleak.custom.data.pixels.rule import Window, shown
from medleak.custom.data.pixels.samples import Samples, UnreadableError
from medleak.custom.data.quiet import captured

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
# What `pip install` names for a compression; pydicom reads RLE and none by itself.
_PACKAGES = (
    ("JPEG-LS", "pyjpegls"),
    ("JPEG 2000", "pylibjpeg pylibjpeg-openjpeg"),
    ("High-Throughput", "pylibjpeg pylibjpeg-openjpeg"),
    ("JPEG", "python-gdcm"),
)


def dicom_image(dataset: "Dataset", window: Window | None = None) -> NDArray[np.uint8]:
    """The single frame of ``dataset`` as a viewer shows it, uint8 [H, W] or [H, W, 3].

    Gray: modality table, or slope and intercept; then ``window``, else the file's first table or
    window of interest (PS3.3 C.11.2), else from the least to the largest value that is no padding;
    then MONOCHROME1 inverted, so that white is dense. Colour and palettes go by `rule.shown`.

    Raises:
        UnreadableError: The values have no single meaning; or no decoder is installed.
        Exception: Of pydicom or a decoder, where the file is damaged.
    """
    values, space = _stored(dataset)
    if space == "PALETTE COLOR":
        colours, alpha, bits = palette(dataset, values)
        samples = Samples(values=colours, bits=bits, alpha=alpha, indices=values)
        return shown(samples, window)
    if space not in ("MONOCHROME1", "MONOCHROME2"):
        return shown(Samples(values=values, bits=int(dataset.BitsStored)), window)
    rescaled = _rescaled(dataset, values)
    if not np.isfinite(rescaled).all():
        raise UnreadableError("holds values that are not finite")
    gray = windowed(rescaled, *window) if window else _by_header(dataset, values, rescaled)
    return 255 - gray if space == "MONOCHROME1" else gray


def _stored(dataset: "Dataset") -> tuple[NDArray[Any], str]:
    """Stored values [H, W] or RGB [H, W, 3], without unused bits, and the colour space."""
    from pydicom.pixels.decoders.base import get_decoder

    space = str(dataset.PhotometricInterpretation)
    known = {"MONOCHROME1": 1, "MONOCHROME2": 1, "PALETTE COLOR": 1}
    known |= dict.fromkeys(("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"), 3)
    if known.get(space) != int(dataset.SamplesPerPixel):
        raise UnreadableError("has a colour space that is not read, or values that are not its")
    uid = dataset.file_meta.TransferSyntaxUID
    if not uid.is_little_endian and dataset.BitsAllocated == 1 and dataset["PixelData"].VR == "OW":
        raise UnreadableError("has one bit a pixel in big-endian words, which is not read")
    try:
        decoder = get_decoder(uid)
    except NotImplementedError:
        raise UnreadableError(
            f"is compressed as {syntax_name(dataset)}, which is not read"
        ) from None
    if not decoder.is_available:
        raise UnreadableError(
            f"is compressed as {syntax_name(dataset)}, and what decodes it is not installed",
            f"its pixels cannot be read. Run pip install {_package(dataset)}, or "
            "pip install 'medleak[dicom]' for all of them.",
        )
    options: Any = {"correct_unused_bits": False}
    with captured() if uid.is_encapsulated else nullcontext():
        values, properties = decoder.as_array(dataset, raw=True, **options)
    if "PixelData" in dataset:
        values = _own_bits(dataset, values)
    decoded = str(properties["photometric_interpretation"])
    if decoded in ("YBR_FULL", "YBR_FULL_422"):
        values = from_ycbcr(values, int(dataset.BitsStored))
    elif decoded not in ("RGB", *known):
        raise UnreadableError("has a colour space that is not read")
    return values, space


def _own_bits(dataset: "Dataset", raw: NDArray[Any]) -> NDArray[Any]:
    """``raw`` without what does not belong to the values: below, beside and above their bits.

    Raises:
        UnreadableError: The bits above hold something, and no overlay says that it is there:
            values larger than the header declares would be cut without a word.
    """
    stored, high = int(dataset.BitsStored), int(dataset.HighBit)
    signed, size = bool(dataset.PixelRepresentation), 8 * raw.dtype.itemsize
    if int(dataset.BitsAllocated) == 1:
        return raw
    shift = high + 1 - stored
    if not 0 <= shift <= size - stored:
        raise UnreadableError("declares bits that its values do not have")
    raw = raw.astype(raw.dtype.newbyteorder("="))
    bits = raw.view(f"u{raw.dtype.itemsize}").astype(np.uint64)
    own = (bits >> np.uint64(shift)) & np.uint64(2**stored - 1)
    plain = own.astype(np.int64)
    sign = np.where(plain >= 2 ** (stored - 1), plain - 2**stored, plain) if signed else plain
    again = ((sign << shift) & (2**size - 1)).astype(np.uint64)
    kept = np.array_equal(bits, again) or np.array_equal(bits, own << np.uint64(shift))
    if not kept and not any(_in_pixels(dataset, 0x6000 + k) for k in range(0, 32, 2)):
        raise UnreadableError(f"holds values beyond the {stored} bits that it declares")
    return sign if signed else own.astype(np.min_scalar_type(2**stored - 1))


def _in_pixels(dataset: "Dataset", group: int) -> bool:
    """Whether an overlay is in unused bits of the pixels: it states the bit, and has no data."""
    return (group, 0x0102) in dataset and (group, 0x3000) not in dataset


def _rescaled(dataset: "Dataset", values: NDArray[Any]) -> NDArray[np.float64]:
    table = _sequence(dataset, "ModalityLUTSequence", "")
    if table is not None:
        found = read_table(table, dataset, signed=bool(dataset.get("PixelRepresentation")))
        return found.look_up(values).astype(np.float64)
    place = _sequence(dataset, "", "PixelValueTransformationSequence") or dataset
    slope = _number(place.get("RescaleSlope"), 1)
    if not slope:
        raise UnreadableError("has a slope of zero: every value is the same")
    return values.astype(np.float64) * slope + _number(place.get("RescaleIntercept"), 0)


def _by_header(
    dataset: "Dataset", stored: NDArray[Any], values: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """``values`` by the file's own lookup table or window, or over their whole range."""
    place = _sequence(dataset, "", "FrameVOILUTSequence") or dataset
    sequence = place.get("VOILUTSequence")
    if sequence:
        table = read_table(sequence[0], dataset, signed=bool(values.min() < 0))
        return windowed(table.look_up(np.rint(values).astype(np.int64)), 0, _white(table))
    if place.get("WindowCenter") is None or place.get("WindowWidth") is None:
        within = values[~_padding(dataset, stored)]
        low, high = (within.min(), within.max()) if within.size else (0.0, 0.0)
        return windowed(values, low, high) if low < high else np.zeros(values.shape, np.uint8)
    centre, width = _number(place.WindowCenter, 0), _number(place.WindowWidth, 0)
    function = str(place.get("VOILUTFunction") or "LINEAR")
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID") or width <= 0:
        raise UnreadableError("has a window of no width or of an unknown function")
    if function == "SIGMOID":
        # Far from the centre the exponent overflows; the curve is flat there.
        steps = np.clip(-4 * (values - centre) / width, -700, 700)
        return windowed(1 / (1 + np.exp(steps)), 0, 1)
    if function == "LINEAR":  # the standard's, off by half a value at either end
        centre, width = centre - 0.5, max(width - 1, 1e-6)
    return windowed(values, centre - width / 2, centre + width / 2)


def _white(table: Table) -> float:
    """White of a table of interest: the largest value of its bits, where its entries use them.

    Scanners declare 16 bits for entries of 12, and 8 for entries of 16; then it is the largest
    entry, as viewers have it.
    """
    largest = float(table.entries.max())
    declared = 2**table.bits - 1
    return declared if declared / 2 < largest <= declared else max(largest, 1)


def _padding(dataset: "Dataset", stored: NDArray[Any]) -> NDArray[np.bool_]:
    """Where ``stored`` is padding: one value, or all up to the limit (PS3.3 C.7.5.1.1.2)."""
    kind = "Float" if stored.dtype.kind == "f" else ""
    names = (f"{kind}PixelPaddingValue", f"{kind}PixelPaddingRangeLimit")
    first, last = (dataset.get(name) for name in names)
    if first is None:
        return np.zeros(stored.shape, bool)
    last = first if last is None else last
    if not kind:
        bits, signed = int(dataset.BitsAllocated), bool(dataset.PixelRepresentation)
        # Written as signed or unsigned, whatever the values are.
        first, last = (_as_stored(int(number), bits, signed) for number in (first, last))
    return (stored >= min(first, last)) & (stored <= max(first, last))


def _as_stored(number: int, bits: int, signed: bool) -> int:
    number %= 2**bits
    return number - 2**bits if signed and number >= 2 ** (bits - 1) else number


def _sequence(dataset: "Dataset", name: str, functional: str) -> "Dataset | None":
    """First item of a sequence: of the dataset, or of its functional groups (enhanced objects)."""
    if name:
        return next(iter(dataset.get(name) or ()), None)
    for groups in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        for group in list(dataset.get(groups) or ())[:1]:
            items: list[Dataset] = list(group.get(functional) or ())
            if items:
                return items[0]
    return None


def _number(value: Any, default: float) -> float:
    """A header's number, the first where it has several."""
    if value is None or value == "":
        return default
    return float(value if isinstance(value, str | int | float) else next(iter(value)))


def syntax_name(dataset: "Dataset") -> str:
    """The name of the transfer syntax, which is a standard's and no patient's."""
    from pydicom.uid import UID

    uid = UID(str(dataset.file_meta.get("TransferSyntaxUID", "")))
    return uid.name if uid.is_transfer_syntax else "unknown transfer syntax"


def _package(dataset: "Dataset") -> str:
    name = syntax_name(dataset)
    return next((package for start, package in _PACKAGES if name.startswith(start)), "pydicom")
