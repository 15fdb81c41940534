"""What runs inside federated learning: data, networks, client training, records.

>>> from medleak.custom import phantom
>>> phantom("cxr", "normal/p00000_00.png", 64).image.shape
(64, 64)

What is named here is imported when it is first asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medleak.custom.phantoms import listing, phantom
    from medleak.custom.record import (
        InputSpec,
        Manifest,
        ModelSpec,
        Record,
        RecordError,
        TaskSpec,
        UpdateInfo,
        find_records,
        list_updates,
        read_record,
        write_manifest,
        write_record,
    )

__all__ = [
    "InputSpec",
    "Manifest",
    "ModelSpec",
    "Record",
    "RecordError",
    "TaskSpec",
    "UpdateInfo",
    "find_records",
    "list_updates",
    "listing",
    "phantom",
    "read_record",
    "write_manifest",
    "write_record",
]

_PLACES = {
    "InputSpec": "record",
    "Manifest": "record",
    "ModelSpec": "record",
    "Record": "record",
    "RecordError": "record",
    "TaskSpec": "record",
    "UpdateInfo": "record",
    "find_records": "record",
    "list_updates": "record",
    "listing": "phantoms",
    "phantom": "phantoms",
    "read_record": "record",
    "write_manifest": "record",
    "write_record": "record",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for (PEP 562)."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
