"""What runs inside federated learning: data, networks, client training, records.

>>> from medleak.custom import phantom
>>> phantom("cxr", "normal/p00000_00.png", 64).image.shape
(64, 64)

What is named here is imported when it is first asked for.
"""

from typing import TYPE_CHECKING

from medleak.filters.imports import late

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

__getattr__ = late(
    __name__,
    {
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
    },
)
