"""What Flower's messages hold: the model, the round, and what is declared beside an update."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict  # pyright: ignore[reportMissingImports]

BESIDE = "medleak"  # the record in which a client's filters say what they did
SCHEDULE = "hp"  # the one in which a client may say how it trained; see UpdateInfo


def kind_of(message: Message) -> str:
    """``train``, ``evaluate`` or ``query``, whatever the action is called."""
    return message.metadata.message_type.partition(".")[0]


def round_of(message: Message) -> int | None:
    """The round that the server names; None if it names none."""
    for record in message.content.config_records.values():
        found = record.get("server-round")
        if isinstance(found, int) and not isinstance(found, bool):
            return found
    group = message.metadata.group_id  # of strategies before Flower's message API
    return int(group) if group.isdecimal() and len(group) < 10 else None


def arrays_key(content: RecordDict) -> str:
    """The name of the one record of arrays.

    Raises:
        ValueError: There is none, or more than one.
    """
    keys = list(content.array_records)
    if len(keys) != 1:
        raise ValueError(
            f"The message holds {len(keys)} records of arrays, and one is needed: the model's "
            "state_dict. What else it holds is not known."
        )
    return keys[0]


def arrays_of(record: ArrayRecord, names: Sequence[str] | None) -> dict[str, np.ndarray]:
    """The arrays by the names of the network's ``state_dict()``.

    Raises:
        ValueError: They are numbered and ``names`` is None or has another length.
    """
    keys = list(record)
    numbered = keys == [str(i) for i in range(len(keys))]
    if numbered and names is None:
        raise ValueError(
            f"The {len(keys)} arrays are numbered, not named: which of them are weights, and which "
            "statistics of batches, is not known. Send ArrayRecord(net.state_dict()), or give "
            "names=list(net.state_dict())."
        )
    if numbered and names is not None:
        if len(names) != len(keys):
            raise ValueError(
                f"The message holds {len(keys)} arrays and names has {len(names)}: give "
                "names=list(net.state_dict()) of the network that is trained."
            )
        keys = list(names)
    return {name: array.numpy() for name, array in zip(keys, record.values(), strict=True)}


def as_record(arrays: Mapping[str, np.ndarray], like: ArrayRecord) -> ArrayRecord:
    """``arrays`` under the names, and in the order, of ``like``."""
    pairs = zip(like, arrays.values(), strict=True)
    return ArrayRecord({key: Array(np.asarray(value)) for key, value in pairs})


def declaration(meta: Mapping[str, Any], withheld: Sequence[str]) -> ConfigRecord:
    """What a client's filters say of an update, for `declared`."""
    content = {"meta": json.dumps(dict(meta), sort_keys=True), "withheld": list(withheld)}
    return ConfigRecord(content)


def declared(content: RecordDict) -> tuple[dict[str, Any], list[str]]:
    """What a client says of its update, and the names that it withheld; malformed: nothing."""
    record = content.config_records.get(BESIDE)
    if record is None:
        own = content.config_records.get(SCHEDULE)
        return ({} if own is None else {SCHEDULE: dict(own)}), []
    try:
        meta = json.loads(str(record.get("meta")))
    except ValueError:
        meta = {}
    withheld = record.get("withheld")
    names = [str(n) for n in withheld] if isinstance(withheld, list) else []
    return (meta if isinstance(meta, dict) else {}), names
