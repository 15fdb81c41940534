"""Tests of writing a record; what is read back is tested in test_record.py."""

import numpy as np
import pytest

from medleak.custom.record import Manifest, UpdateInfo, read_record, utc_now
from medleak.custom.record.tensors import RecordError
from medleak.custom.record.writing import (
    write_global,
    write_manifest,
    write_record,
    write_update,
)

STATE = {"w": np.ones(3, np.float32)}


def info(site="a"):
    return UpdateInfo(round=0, site=site, time=utc_now())


def test_a_round_has_several_models_only_if_that_is_asked_for(tmp_path):
    write_manifest(tmp_path, Manifest(job="x", created=utc_now()))
    other = {"w": np.zeros(3, np.float32)}
    digests = [write_global(tmp_path, 0, STATE), write_global(tmp_path, 0, other, several=True)]
    with pytest.raises(RecordError, match="another model"):
        write_global(tmp_path, 0, other)
    for site, digest in zip("ab", digests, strict=True):
        write_update(tmp_path, info(site), digest, STATE)
    assert read_record(tmp_path, 0, "a").global_state["w"].tolist() == [1, 1, 1]
    assert read_record(tmp_path, 0, "b").global_state["w"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("value", [{"a": np.ones(3)}, np.ones(3, complex), np.full(3, np.nan)])
def test_what_cannot_be_read_back_leaves_nothing(tmp_path, value):
    with pytest.raises(RecordError, match=r"Round 0, site a: .*'w'"):
        write_record(tmp_path, info(), STATE, {"w": value})
    assert not list(tmp_path.iterdir())


def test_a_second_update_of_a_site_leaves_no_model_behind(tmp_path):
    info = UpdateInfo(round=0, site="a", time="")
    state = {"w": np.ones(2, np.float32)}
    write_record(tmp_path, info, state, state)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RecordError, match="one update a round"):
        write_record(tmp_path, info, {"w": np.zeros(2, np.float32)}, state, several=True)
    assert sorted(tmp_path.rglob("*")) == before
