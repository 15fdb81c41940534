"""Tests of reading a record; more of them, with what was written, are in test_record.py."""

import json

import numpy as np
import pytest

from medleak.custom.record import Manifest, UpdateInfo, utc_now, write_manifest, write_record
from medleak.custom.record.reading import list_updates, read_manifest, read_record, verify
from medleak.custom.record.tensors import RecordError


def test_a_hash_that_is_no_hash_becomes_no_path(tmp_path):
    write_manifest(tmp_path, Manifest(job="x", created=utc_now()))
    state = {"w": np.ones(2, np.float32)}
    write_record(tmp_path, UpdateInfo(round=0, site="a", time=utc_now()), state, state)
    sidecar = tmp_path / "round_0000" / "a.json"
    text = json.loads(sidecar.read_text())
    text["sha256"]["global"] = "../../a"
    sidecar.write_text(json.dumps(text))
    with pytest.raises(RecordError, match="does not have the SHA-256"):
        read_record(tmp_path, 0, "a")
    assert list_updates(tmp_path) == [(0, "a")]
    assert [why is None for *_, why in verify(tmp_path)] == [False]


@pytest.mark.parametrize("size", [[9000, 8], [5000, 5000, 5000]])
def test_images_that_fill_no_memory_are_asked_for(tmp_path, size):
    write_manifest(tmp_path, Manifest(job="x", created=utc_now()))
    path = tmp_path / "manifest.json"
    text = json.loads(path.read_text()) | {"input": {"spatial_size": size, "channels": 1}}
    path.write_text(json.dumps(text | {"sources": {}}))
    with pytest.raises(RecordError, match="would not fit into memory"):
        read_manifest(tmp_path)
