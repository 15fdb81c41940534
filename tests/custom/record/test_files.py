"""Tests of the files of a record: each function refuses what a stranger may have written."""

import hashlib
import json
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from medleak.custom.record import files
from medleak.custom.record.files import RecordError
from medleak.custom.record.schema import TaskSpec


@pytest.mark.parametrize("site", ["site-1", "a", "Klinik_3.b", "9"])
def test_a_plain_site_name_is_a_file_name(site, tmp_path):
    tensors, sidecar = files.paths(tmp_path, site)
    assert tensors == tmp_path / f"{site}.safetensors"
    assert sidecar == tmp_path / f"{site}.json"


@given(st.text(max_size=70))
def test_a_site_name_that_passes_has_nothing_that_leads_elsewhere(name):
    if set(name) & set("/\\\0 :\n") or name.startswith("."):
        with pytest.raises(RecordError, match="it becomes a file name"):
            files.check_site(name)
    else:
        with suppress(RecordError):
            assert files.check_site(name) == name


def test_a_round_has_its_own_folder(tmp_path):
    assert files.round_dir(tmp_path, 12) == tmp_path / "round_0012"
    assert files.round_dir(tmp_path, 12).is_dir()


def test_json_of_a_model_reads_back(tmp_path):
    path = tmp_path / "x.json"
    files.write(path, files.as_json(TaskSpec(num_classes=3)))
    assert files.parse(TaskSpec, files.read_json(path, tmp_path), path) == TaskSpec(num_classes=3)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_what_is_no_json_object_is_refused_by_name(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r"x\.json .*Restore it"):
        files.read_json(path, tmp_path)


def test_a_sidecar_of_endless_length_is_not_read_whole(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(json.dumps({"a": "x" * 1_100_000}).encode())
    with pytest.raises(RecordError, match="cannot be read as JSON"):
        files.read_json(path, tmp_path)


def test_the_first_wrong_field_is_named(tmp_path):
    with pytest.raises(RecordError, match=r"x\.json: field 'num_classes'"):
        files.parse(TaskSpec, {"num_classes": 0}, tmp_path / "x.json")


def test_tensors_come_by_name_and_only_with_their_hash(tmp_path):
    data = save({"b": np.ones(2), "a": np.zeros(1)})
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    found = files.read_tensors(path, hashlib.sha256(data).hexdigest(), tmp_path)
    assert list(found) == ["a", "b"]
    np.testing.assert_array_equal(found["b"], np.ones(2))
    with pytest.raises(RecordError, match="SHA-256"):
        files.read_tensors(path, "00" * 32, tmp_path)
    path.write_bytes(b"no tensors")
    with pytest.raises(RecordError, match="is not a safetensors file"):
        files.read_tensors(path, hashlib.sha256(b"no tensors").hexdigest(), tmp_path)


def test_a_disk_that_refuses_is_an_error_of_the_record(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RecordError, match="Cannot write"):
        files.write(tmp_path / "file" / "x", b"data")
