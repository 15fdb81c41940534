"""The record of a federated run: what the server saw, on disk, without pickle.

One directory a run (format version 2; 1 is read as well)::

    manifest.json                 the job, and as far as known the network, the task, the input
    round_0003/global.safetensors the model sent in this round, buffers included
    round_0003/models/…           others of this round, where sites do not start from one
    round_0003/site-9.safetensors the update as received: local - global
    round_0003/beside/site-9.…    further tensors, such as SCAFFOLD's control, by set and name
    round_0003/site-9.json        how the site says it trained, as far as it does, and the hashes

Every file appears whole or not at all, and the ``.json`` of an update is written last: an
update is in the record when, and only when, its ``.json`` is. Anyone can write a record from
another framework with :func:`write_manifest` and :func:`write_record`; an audit reads nothing
else. Names come from the network and are checked before they touch a path.
"""

from medleak.custom.record.chosen import chosen_updates
from medleak.custom.record.files import check_site
from medleak.custom.record.local import Recorder
from medleak.custom.record.reading import (
    Record,
    all_records,
    find_records,
    list_updates,
    natural_key,
    one_record,
    read_beside,
    read_info,
    read_manifest,
    read_model,
    read_record,
    verify,
)
from medleak.custom.record.schema import (
    CRITERIA,
    FORMAT_VERSION,
    OPTIMIZERS,
    SCHEDULE,
    CanaryMark,
    Criterion,
    Hashes,
    InputSpec,
    LedgerHead,
    LeftOut,
    Manifest,
    ModelSpec,
    Source,
    TaskSpec,
    UnknownError,
    UpdateInfo,
    begun_now,
    utc_now,
)
from medleak.custom.record.strays import (
    EmptyRecord,
    gaps_text,
    left_out_text,
    strays,
    why_empty,
)
from medleak.custom.record.tensors import RecordError
from medleak.custom.record.writing import (
    extended,
    write_global,
    write_manifest,
    write_record,
    write_update,
)

__all__ = [
    "CRITERIA",
    "FORMAT_VERSION",
    "OPTIMIZERS",
    "SCHEDULE",
    "CanaryMark",
    "Criterion",
    "EmptyRecord",
    "Hashes",
    "InputSpec",
    "LedgerHead",
    "LeftOut",
    "Manifest",
    "ModelSpec",
    "Record",
    "RecordError",
    "Recorder",
    "Source",
    "TaskSpec",
    "UnknownError",
    "UpdateInfo",
    "all_records",
    "begun_now",
    "check_site",
    "chosen_updates",
    "extended",
    "find_records",
    "gaps_text",
    "left_out_text",
    "list_updates",
    "natural_key",
    "one_record",
    "read_beside",
    "read_info",
    "read_manifest",
    "read_model",
    "read_record",
    "strays",
    "utc_now",
    "verify",
    "why_empty",
    "write_global",
    "write_manifest",
    "write_record",
    "write_update",
]
