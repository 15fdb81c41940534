"""What the header of a DICOM file says of a person, an order or a study.

All attributes of PS3.15 Annex E (table E.1-1, edition 2024e, in ``annex_e.txt``), at any depth of
sequences; every name of a person; every private attribute; and all that lies in a sequence of the
table. Numbers and codes of it that name nobody (weight, age, sex) are left out.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medleak.custom.data.data_error import DataError
from medleak.custom.data.quiet import quiet
from medleak.custom.identity.values import Kind, Value

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

_STANDARD_UID = "1.2.840.10008."
_LONGEST = 1 << 20  # characters of one value
_MOST = 4096  # values of one attribute
_BINARY_LONGEST, _BINARY_MOST = 16384, 1024  # bytes, and texts in them, of a value of unknown kind
_DEFERRED = 65536  # bytes
_PIXELS = 0x7FE0
_SILENT = {"DS", "IS", "US", "SS", "UL", "SL", "UV", "SV", "FL", "FD", "AS", "CS", "AT"}
_BINARY = {"OB", "OW", "OF", "OD", "OL", "OV", "UN"}
_TEXTS = {"ST", "LT", "UT"}
# Vocabulary of classes rather than of people, where the attribute's own name does not say so.
_PROSE = re.compile(
    r"(Description|Label|Agent|Keywords|Title|Subject"
    r"|State|Site|Sites|Needs|Alerts|Allergies|Occupation|EthnicGroup|Rank|Preference|"
    r"Residence|Arrangements|Service|DepartmentName|Manufacturer|ProtocolName|PreMedication|"
    r"ROIName|SetName|PlanName|TemplateName|TextString|TimezoneOffsetFromUTC)$|^ReasonFor|^Selector"
)
# What a person wrote of a person.
_WRITTEN = re.compile(r"(Comments?|History|Narrative|Notes|Text)$")
_PROSE_SEQUENCE = re.compile(
    r"Diagnos|Reason|AcquisitionContext|Content|Graphic|Icon|Image|Specimen|Attributes|Language|"
    r"GeographicLocation|Department"
)


def values_of(path: Path) -> Iterator[Value]:
    """What identifies somebody in the header of ``path``, with its place in it.

    Raises:
        DataError: The header is damaged, so that nobody knows whom it names.
    """
    from pydicom import dcmread

    with quiet("pydicom"):
        try:
            # All of it, as private groups may follow the pixels; large values stay in the file.
            header = dcmread(path, defer_size=_DEFERRED, force=True)
            meta = getattr(header, "file_meta", None)
            found = [*_values(header, "", None)]
            found += [] if meta is None else [*_values(meta, "", None)]
        except Exception as error:  # not its words: pydicom's may quote values of the header
            raise DataError(
                f"DICOM file {str(path)!r} has a header that cannot be read to its end "
                f"({type(error).__name__}): whether it names somebody after whom a class is called "
                "is unknown. Mend, replace or remove it."
            ) from None
    yield from found


@lru_cache(maxsize=1)
def annex_e() -> frozenset[int]:
    """Tags of the table."""
    text = files("medleak.custom.identity").joinpath("annex_e.txt").read_text(encoding="ascii")
    return frozenset(int(line.split()[0], 16) for line in text.splitlines())


def _values(dataset: "Dataset", above: str, kind_above: Kind | None) -> Iterator[Value]:
    for tag in list(dataset.keys()):
        if tag.group == _PIXELS:
            continue
        try:
            element = dataset[tag]
        except Exception:  # a value that pydicom cannot read: its bytes are compared instead
            raw: Any = dataset.get_item(tag)
            yield from _of_bytes(getattr(raw, "value", None), f"{above}{tag}")
            continue
        name = element.keyword or ("private tag " if element.tag.is_private else "") + str(tag)
        place = f"{above}{name}" + (f" {tag}" if element.keyword else "")
        kind = _kind(element, kind_above)
        if element.VR == "SQ":
            inner = _inside(element, kind_above)
            for k, item in enumerate(element.value or ()):
                yield from _values(item, f"{above}{name}[{k}].", inner)
        elif kind is not None:
            for text in _texts(element):
                if not text.startswith(_STANDARD_UID):
                    yield Value(text, kind, place)
                    if element.tag.is_private and kind != "free":
                        yield Value(text, "free", place)


def _kind(element: "DataElement", above: Kind | None) -> Kind | None:
    """What kind of text the attribute holds; None: none that names somebody."""
    if element.VR == "PN":
        return "person"
    private = element.tag.is_private
    listed = int(element.tag) in annex_e() or private or element.tag.group >> 8 == 0x60
    if not (listed or above is not None):
        return None
    if element.VR in _SILENT and not (private and element.VR in ("IS", "CS")):
        return None
    if element.VR in ("DA", "DT", "TM"):
        return "moment"
    if not private and _WRITTEN.search(element.keyword or ""):
        return "free"
    if not private and (element.VR in _TEXTS or _PROSE.search(element.keyword or "")):
        return "prose"
    return "identifier" if int(element.tag) in annex_e() or above is None else above


def _inside(element: "DataElement", above: Kind | None) -> Kind | None:
    """The kind of what lies in a sequence and is not in the table by itself."""
    if element.tag.is_private:
        return "identifier"
    if int(element.tag) not in annex_e():
        return above
    return "prose" if _PROSE_SEQUENCE.search(element.keyword or "") else "identifier"


def _texts(element: "DataElement") -> Iterator[str]:
    value = element.value
    if element.VR in _BINARY:
        yield from (v.text for v in _of_bytes(value, ""))
        return
    several = isinstance(value, list | tuple) or type(value).__name__ == "MultiValue"
    for one in list(value)[:_MOST] if several else [value]:
        text = "" if one is None else str(one).strip("\0 ")[:_LONGEST]
        if text:
            yield text


def _of_bytes(value: Any, place: str) -> Iterator[Value]:
    """The texts in bytes of unknown kind: runs of printable characters."""
    if not isinstance(value, bytes):
        return
    content = value[:_BINARY_LONGEST]
    for encoding in ("utf-8", "latin-1"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        for run in re.findall(r"[^\x00-\x1f\x7f-\x9f]{4,64}", text)[:_BINARY_MOST]:
            yield Value(run.strip(), "identifier", place)
        return
