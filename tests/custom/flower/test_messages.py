"""Tests of what Flower's messages hold."""

import numpy as np
import pytest
from tests.custom.flower.federation import STATE, ConfigRecord, Message, RecordDict, as_record

from medleak.custom.flower.messages import arrays_key, arrays_of, declared, kind_of, round_of


def message(kind="train", group=None, **records):
    return Message(RecordDict(records), dst_node_id=1, message_type=kind, group_id=group)


@pytest.mark.parametrize(
    ("kind", "found"), [("train", "train"), ("train.own", "train"), ("evaluate", "evaluate")]
)
def test_an_action_is_of_the_kind_before_the_dot(kind, found):
    assert kind_of(message(kind)) == found


def test_the_round_is_the_servers_or_an_older_strategys_group():
    assert round_of(message(config=ConfigRecord({"server-round": 3}))) == 3
    assert round_of(message(group="4")) == 4
    assert round_of(message(config=ConfigRecord({"server-round": True}))) is None
    assert round_of(message(config=ConfigRecord({"lr": 0.1}), group="first")) is None


def test_a_message_of_no_or_of_two_records_of_arrays_is_refused():
    one = as_record(STATE)
    assert arrays_key(RecordDict({"a": one})) == "a"
    for content in ({}, {"a": one, "b": one}):
        with pytest.raises(ValueError, match=f"{len(content)} records of arrays"):
            arrays_key(RecordDict(content))


def test_arrays_are_read_by_name_and_numbered_ones_by_the_networks():
    found = arrays_of(as_record(STATE, numbered=True), list(STATE))
    assert list(found) == list(STATE)
    np.testing.assert_array_equal(found["fc.weight"], STATE["fc.weight"])
    assert list(arrays_of(as_record(STATE), ["other"])) == list(STATE)


@pytest.mark.parametrize(
    ("record", "found"),
    [
        ({}, ({}, [])),
        ({"hp": ConfigRecord({"lr": 0.1})}, ({"hp": {"lr": 0.1}}, [])),
        ({"medleak": ConfigRecord({"meta": "{", "withheld": "all"})}, ({}, [])),
        ({"medleak": ConfigRecord({"meta": "[]", "withheld": ["w"]})}, ({}, ["w"])),
        ({"medleak": ConfigRecord({"meta": '{"hp": {"lr": 1}}'})}, ({"hp": {"lr": 1}}, [])),
    ],
)
def test_what_a_client_declares_is_read_and_what_is_malformed_declares_nothing(record, found):
    assert declared(RecordDict(record)) == found
