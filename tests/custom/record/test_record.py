"""Tests of medleak.custom.record."""

import errno
import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medleak.custom.record import (
    InputSpec,
    Manifest,
    ModelSpec,
    RecordError,
    TaskSpec,
    UnknownError,
    UpdateInfo,
    check_site,
    files,
    find_records,
    list_updates,
    natural_key,
    read_manifest,
    read_record,
    utc_now,
    verify,
    write_manifest,
    write_record,
)

MANIFEST = Manifest(
    job="test",
    created=utc_now(),
    model=ModelSpec(path="medleak.custom.networks.resnet18", args={"num_classes": 2}),
    task=TaskSpec(num_classes=2),
    input=InputSpec(spatial_size=(8, 8), channels=1),
    class_names=("normal", "pneumonia"),
)


def info(round=0, site="site-1", **kwargs):
    schedule = {"n_images": 4, "n_steps": 1, "batch_size": 4, "local_epochs": 1, "lr": 0.01}
    return UpdateInfo(round=round, site=site, time=utc_now(), **schedule | kwargs)


@pytest.fixture
def state():
    return {
        "w": np.arange(6, dtype=np.float32).reshape(2, 3),
        "running_mean": np.array([0.5, 1.5], np.float64),
        "num_batches_tracked": np.array(3, np.int64),
    }


@pytest.fixture
def root(tmp_path, state):
    write_manifest(tmp_path, MANIFEST)
    for site in ("site-10", "site-2"):
        write_record(tmp_path, info(site=site), state, {k: v + 1 for k, v in state.items()})
    return tmp_path


def test_what_was_written_is_read_bit_for_bit_with_its_dtypes(root, state):
    found = read_record(root, 0, "site-2")
    assert found.manifest == MANIFEST
    assert found.info.batch_size == 4
    for name, value in state.items():
        np.testing.assert_array_equal(found.global_state[name], value)
        np.testing.assert_array_equal(found.update[name], value + 1)
        assert found.update[name].dtype == value.dtype
        assert found.update[name].shape == value.shape


def test_numpy_scalars_and_strided_arrays_can_be_recorded(root, state):
    update = {"num_batches_tracked": np.float64(1.0), "w": np.ones((3, 2), np.float32).T}
    write_record(root, info(site="odd"), state, update)
    found = read_record(root, 0, "odd").update
    assert found["num_batches_tracked"].shape == ()
    assert found["w"].shape == (2, 3)


def test_tensors_come_in_the_same_order_on_every_reading(root):
    found = read_record(root, 0, "site-2")
    assert list(found.update) == list(found.global_state) == sorted(found.update)


def test_updates_are_listed_by_round_and_by_the_number_in_the_name(root, state):
    write_record(root, info(round=12), state, state)
    assert list_updates(root) == [(0, "site-2"), (0, "site-10"), (12, "site-1")]
    assert sorted(["b10", "b9", "a"], key=natural_key) == ["a", "b9", "b10"]
    # Python turns no text of more than 4,300 digits into a number.
    long = ["9" * 5000 + "b", "9" * 5000 + "a"]
    assert sorted([*long, "b"], key=natural_key) == [long[1], long[0], "b"]


def test_the_model_of_a_round_is_written_once_and_only_one(root, state):
    assert len(list((root / "round_0000").glob("global*"))) == 1
    other = {**state, "w": state["w"] + 1}
    with pytest.raises(RecordError, match="another model"):
        write_record(root, info(site="site-3"), other, state)
    assert (0, "site-3") not in list_updates(root)


def test_a_site_has_one_update_a_round(root, state):
    with pytest.raises(RecordError, match="one update a round"):
        write_record(root, info(site="site-2"), state, state)


@pytest.mark.parametrize("file", ["global.safetensors", "site-2.safetensors"])
def test_one_flipped_byte_is_found_and_named(root, file):
    path = root / "round_0000" / file
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(RecordError, match=rf"{file} does not have the SHA-256"):
        read_record(root, 0, "site-2")


def test_verify_names_the_bad_update_and_still_reads_the_others(root):
    (root / "round_0000" / "site-2.safetensors").unlink()
    result = {site: problem for _, site, problem in verify(root)}
    assert result["site-10"] is None
    assert "site-2.safetensors cannot be read" in (result["site-2"] or "")


@pytest.mark.parametrize(
    ("update", "message"),
    [
        ({}, "is empty"),
        ({"v": np.zeros(2, np.float32)}, "'v' .* is not in the model"),
        ({"w": np.zeros((3, 3), np.float32)}, r"'w' has shape \(3, 3\), in the model \(2, 3\)"),
        ({"w": np.full((2, 3), np.nan, np.float32)}, "NaN or inf in 'w'"),
    ],
)
def test_an_update_that_does_not_fit_the_model_is_refused(tmp_path, state, update, message):
    with pytest.raises(RecordError, match=message):
        write_record(tmp_path, info(), state, update)
    assert list_updates(tmp_path) == []


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../evil",
        "a/b",
        "a\\b",
        "-rf",
        "global",
        "Global",
        "a" * 64,
        "é",
        "a\0",
        "a\n",
    ],
)
def test_a_site_name_that_is_no_file_name_is_refused(tmp_path, state, name):
    with pytest.raises(RecordError, match="not usable"):
        write_record(tmp_path, info(site=name), state, state)
    assert not list(tmp_path.glob("**/*evil*"))


@given(st.text())
def test_no_site_name_that_passes_can_leave_its_folder(name):
    try:
        check_site(name)
    except RecordError:
        return
    assert os.path.basename(f"{name}.json") == f"{name}.json"
    assert name.isascii()
    assert not name.startswith(".")


def test_a_full_disk_leaves_nothing_half_written(tmp_path, state, monkeypatch):
    write_manifest(tmp_path, MANIFEST)
    real = os.fsync

    def no_space(descriptor):
        if "site-1" in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(RecordError, match="no space left on the disk"):
        write_record(tmp_path, info(), state, state)
    assert list_updates(tmp_path) == []
    assert not list(tmp_path.glob("**/*site-1*"))


def test_a_sidecar_that_cannot_be_written_takes_its_tensors_along(tmp_path, state, monkeypatch):
    real = files.write_atomic

    def fail_on_json(path, data):
        if path.suffix == ".json":
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, data)

    monkeypatch.setattr(files, "write_atomic", fail_on_json)
    with pytest.raises(RecordError, match="no space left"):
        write_record(tmp_path, info(), state, state)
    assert not (tmp_path / "round_0000" / "site-1.safetensors").exists()


@pytest.mark.parametrize("name", ["manifest.json", "round_0000/site-2.json"])
def test_a_file_of_endless_depth_is_refused_by_name(root, name):
    (root / name).write_text("[" * 100_000)
    with pytest.raises(RecordError, match=f"{name} cannot be read as JSON"):
        read_record(root, 0, "site-2")


def test_another_format_version_is_refused_before_anything_else_is_read(root):
    path = root / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 3, "new": 1}))
    with pytest.raises(RecordError, match="format version 3; this medleak reads 1 and 2"):
        read_record(root, 0, "site-2")


VERSION_1 = {
    "manifest.json": {
        "format_version": 1,
        "job": "old",
        "created": "2026-01-01T00:00:00+00:00",
        "model": {"path": "medleak.custom.networks.resnet18", "args": {"num_classes": 2}},
        "task": {"criterion": "cross_entropy", "num_classes": 2},
        "input": {"spatial_size": [8, 8], "channels": 1},
        "class_names": [],
        "versions": {},
        "left_out": [],
    },
    "round_0000/site-2.json": {
        "round": 0,
        "site": "site-2",
        "time": "2026-01-01T00:00:00+00:00",
        "n_images": 4,
        "n_steps": 2,
        "batch_size": 2,
        "local_epochs": 1,
        "lr": 0.1,
        "defences": [],
        "ledger": None,
    },
}


def test_version_1_is_read_and_what_it_left_to_its_defaults_was_said(root):
    for name, text in VERSION_1.items():
        path = root / name
        old = {"sha256": json.loads(path.read_text()).get("sha256")} if "site" in name else {}
        path.write_text(json.dumps(text | old))
    found = read_record(root, 0, "site-2")
    assert found.manifest.format_version == 2
    spec = found.manifest.known_input()
    assert (spec.mean, spec.std) == ((0.0,) * 3, (1.0,) * 3)
    assert (found.info.momentum, found.info.weight_decay) == (0.0, 0.0)
    assert found.info.optimizer == "sgd"
    assert found.info.sources["optimizer"] == found.info.sources["lr"] == "declared"
    assert found.info.betas is None
    assert found.info.sources["betas"] == "unknown"
    assert found.manifest.sources == dict.fromkeys(("model", "task", "input"), "declared")


def test_what_nobody_said_is_unknown_and_no_error(tmp_path, state):
    write_manifest(tmp_path, Manifest(job="x", created=utc_now()))
    write_record(tmp_path, UpdateInfo(round=0, site="a", time=utc_now()), state, state)
    found = read_record(tmp_path, 0, "a")
    assert (found.manifest.model, found.manifest.task, found.manifest.input) == (None, None, None)
    assert set(found.info.sources.values()) == {"unknown"}
    assert [problem for *_, problem in verify(tmp_path)] == [None]
    asked = [
        (found.manifest.known_model, "the network. Give .*--model"),
        (found.manifest.known_task, "the training loss. Give --task"),
        (found.manifest.known_input, "size of an image. Give --input"),
        (lambda: found.info.known("lr"), "the learning rate. Give --schedule lr="),
    ]
    for ask, words in asked:
        with pytest.raises(UnknownError, match=f"Not known: .*{words}"):
            ask()


@pytest.mark.parametrize(
    ("size", "channels", "mean"),
    [((16, 12, 10), 4, (0.1, 0.2, 0.3, 0.4)), ((8, 8), 2, None), ((8, 8, 8), 1, (0.5,))],
)
def test_volumes_and_any_number_of_channels_are_recorded(tmp_path, state, size, channels, mean):
    spec = InputSpec(spatial_size=size, channels=channels, mean=mean)
    write_manifest(tmp_path, MANIFEST.model_copy(update={"input": spec}))
    write_record(tmp_path, info(), state, state)
    assert read_record(tmp_path, 0, "site-1").manifest.input == spec


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"lr": -1}, "field 'lr'"),
        ({"site": "site-9"}, "moved or edited"),
        ({"sha256": None}, "moved or edited"),
        ({"extra": 1}, "field 'extra'"),
        ({"n_steps": "many"}, "field 'n_steps'"),
    ],
)
def test_an_edited_sidecar_is_refused(root, edit, message):
    path = root / "round_0000" / "site-2.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **edit}))
    with pytest.raises(RecordError, match=message):
        read_record(root, 0, "site-2")


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00", '{"job": 1e999}'])
def test_a_broken_manifest_is_one_clear_error(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(RecordError, match=r"manifest\.json"):
        read_manifest(tmp_path)


def test_what_is_not_recorded_is_said_with_what_is(root):
    with pytest.raises(RecordError, match=r"Round 7 is not recorded.*Recorded rounds: 0"):
        read_record(root, 7, "site-2")
    with pytest.raises(RecordError, match=r"'site-3' is not recorded.*site-2, site-10"):
        read_record(root, 0, "site-3")


def test_records_are_found_below_a_run(tmp_path, state):
    with pytest.raises(RecordError, match="No record in"):
        find_records(tmp_path)
    first = tmp_path / "server" / "simulate_job" / "records"
    write_manifest(first, MANIFEST)
    assert find_records(tmp_path) == find_records(first.parent) == find_records(first) == first
    write_manifest(tmp_path / "other" / "records", MANIFEST)
    with pytest.raises(RecordError, match="holds 2 records"):
        find_records(tmp_path)
