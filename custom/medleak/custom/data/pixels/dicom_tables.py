"""Lookup tables of DICOM headers: of modality, of interest, and palettes (PS3.3 C.11.1, C.7.9)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medleak.custom.data.pixels.samples import UnreadableError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Entries for the values from ``first`` on; values beside them take the nearest entry.

    ``bits`` are those that the descriptor declares, which not every scanner fills or keeps to.
    """

    entries: NDArray[Any]
    first: int
    bits: int

    def look_up(self, values: NDArray[Any]) -> NDArray[Any]:
        """The entry of each of ``values``, integers."""
        places = np.asarray(values, np.int64) - self.first
        return self.entries[np.clip(places, 0, len(self.entries) - 1)]


def read_table(item: "Dataset", dataset: "Dataset", *, signed: bool) -> Table:
    """The table of a sequence's ``item``.

    Args:
        item: Holds LUTDescriptor and LUTData.
        dataset: Of it, for the byte order.
        signed: Whether the values that are looked up may be negative, so that the first one is.

    Raises:
        UnreadableError: Descriptor and data do not fit.
    """
    count, first, bits = _descriptor(item.LUTDescriptor, signed)
    return Table(entries=_entries(item["LUTData"].value, count, dataset), first=first, bits=bits)


def palette(
    dataset: "Dataset", indices: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[np.float32] | None, int]:
    """Colours [H, W, 3], transparency [H, W] or None, and bits a colour, of ``indices``.

    Raises:
        UnreadableError: A table is missing, or its descriptor and data do not fit.
    """
    signed = bool(dataset.get("PixelRepresentation"))
    tables = [_of_colour(dataset, name, signed) for name in ("Red", "Green", "Blue", "Alpha")]
    if any(table is None for table in tables[:3]):
        raise UnreadableError("has no palette for its indices")
    present = [table for table in tables if table is not None]
    # 8-bit colours in entries that are declared wider.
    bits = 8 if max(int(table.entries.max()) for table in present[:3]) <= 255 else 16
    looked_up = [table.look_up(indices) for table in present]
    colours = np.stack(looked_up[:3], -1).astype(np.uint8 if bits == 8 else np.uint16)
    if bits == 16:  # a palette states its scale: a dark one is dark, not of 12 bits
        colours, bits = np.rint(colours / 257).astype(np.uint8), 8
    if len(looked_up) == 3:
        return colours, None, bits
    most = 255 if present[3].entries.max() <= 255 else 65535
    return colours, (looked_up[3] / most).astype(np.float32), bits


def _of_colour(dataset: "Dataset", colour: str, signed: bool) -> Table | None:
    described = dataset.get(f"{colour}PaletteColorLookupTableDescriptor")
    # Alpha has no descriptor of its own: it is the others' (PS3.3 C.7.9.1).
    described = described or dataset.get("RedPaletteColorLookupTableDescriptor")
    data = dataset.get(f"{colour}PaletteColorLookupTableData")
    segments = dataset.get(f"Segmented{colour}PaletteColorLookupTableData")
    if described is None or (data is None and segments is None):
        return None
    count, first, bits = _descriptor(described, signed)
    if data is not None:
        return Table(entries=_entries(data, count, dataset), first=first, bits=bits)
    entries = _expanded(_words(segments, 1 if bits == 8 else 2, dataset))
    if len(entries) < count:
        raise UnreadableError("has a palette that is shorter than it declares")
    return Table(entries=entries[:count], first=first, bits=bits)


def _descriptor(value: Any, signed: bool) -> tuple[int, int, int]:
    """Number of entries, first value, bits an entry."""
    count, first, bits = (int(number) for number in value)
    # Of 16 bits without a sign, whatever the data are: 0 is 65536.
    count = count % 65536 or 65536
    first %= 65536
    return count, first - 65536 if signed and first >= 32768 else first, bits


def _entries(data: Any, count: int, dataset: "Dataset") -> NDArray[Any]:
    """``count`` entries of 8 or 16 bits, told by the length of the data."""
    if not isinstance(data, bytes):  # a list of US or SS
        numbers = np.atleast_1d(np.asarray(data, np.int64)) % 65536
    elif len(data) >= 2 * count:
        numbers = _words(data, 2, dataset)
    else:
        numbers = _words(data, 1, dataset)
    if len(numbers) < count:
        raise UnreadableError("has a lookup table that is shorter than it declares")
    return numbers[:count]


def _words(data: bytes, size: int, dataset: "Dataset") -> NDArray[np.int64]:
    """Unsigned numbers of ``size`` bytes; in a big-endian file bytes of 8-bit entries pair up."""
    little = dataset.original_encoding[1] is not False
    if size == 2:
        return np.frombuffer(data, "<u2" if little else ">u2").astype(np.int64)
    if not little and len(data) % 2 == 0:
        return np.frombuffer(data, ">u2").astype("<u2").view(np.uint8).astype(np.int64)
    return np.frombuffer(data, np.uint8).astype(np.int64)


def _expanded(words: NDArray[np.int64]) -> NDArray[np.int64]:
    """Entries of a segmented table: runs, ramps, and repeated segments (PS3.3 C.7.9.2)."""
    numbers = [int(word) for word in words]
    found: list[int] = []
    at = 0
    while at + 1 < len(numbers):
        at = _segment(numbers, at, found)
    return np.array(found, np.int64)


def _segment(numbers: list[int], at: int, found: list[int]) -> int:
    """Append the segment at ``at`` to ``found``; the place of the next one."""
    code, length = numbers[at], numbers[at + 1]
    if code == 0:
        found += numbers[at + 2 : at + 2 + length]
        return at + 2 + length
    if code == 1 and found and at + 2 < len(numbers):
        ramp = np.linspace(found[-1], numbers[at + 2], length + 1)[1:]
        found += [round(float(entry)) for entry in ramp]
        return at + 3
    raise UnreadableError("has a segmented palette that repeats itself, which is not read")
