"""Tests of what the JSON files of a record may say."""

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from medleak.custom.record.schema import InputSpec, Manifest, TaskSpec, UpdateInfo, utc_now

INFO = {
    "round": 0,
    "site": "site-1",
    "time": "2026-01-01T00:00:00+00:00",
    "n_images": 4,
    "n_steps": 2,
    "batch_size": 2,
    "local_epochs": 1,
    "lr": 0.1,
}
MANIFEST = {
    "job": "x",
    "created": "2026-01-01T00:00:00+00:00",
    "model": {"path": "a.b"},
    "task": {"num_classes": 2},
    "input": {"spatial_size": [16, 24], "channels": 1},
}


def test_what_was_written_reads_as_it_was():
    for kind, text in ((UpdateInfo, INFO), (Manifest, MANIFEST)):
        made = kind.model_validate(text)
        assert kind.model_validate_json(made.model_dump_json(by_alias=True)) == made


def test_hashes_are_written_under_the_word_global():
    info = UpdateInfo.model_validate({**INFO, "sha256": {"global": "aa", "update": "bb"}})
    assert info.sha256 is not None
    assert info.sha256.sent == "aa"
    assert '"global":"aa"' in info.model_dump_json(by_alias=True)


@pytest.mark.parametrize(
    "change",
    [
        {"round": -1},
        {"n_images": 0},
        {"batch_size": 0},
        {"lr": 0.0},
        {"lr": float("nan")},
        {"momentum": -0.1},
        {"weight_decay": float("inf")},
        {"images": []},
    ],
)
def test_a_value_that_no_training_has_is_refused(change):
    with pytest.raises(ValidationError):
        UpdateInfo.model_validate({**INFO, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"format_version": 2},
        {"task": {"num_classes": 0}},
        {"task": {"num_classes": 2, "criterion": "hinge"}},
        {"input": {"spatial_size": [16, 0], "channels": 1}},
        {"input": {"spatial_size": [16, 16], "channels": 2}},
        {"input": {"spatial_size": [16, 16], "channels": 1, "std": [0.0, 1.0, 1.0]}},
    ],
)
def test_a_manifest_of_no_run_is_refused(change):
    with pytest.raises(ValidationError):
        Manifest.model_validate({**MANIFEST, **change})


def test_records_do_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        TaskSpec(num_classes=2).num_classes = 3  # type: ignore[misc]
    assert InputSpec(spatial_size=(1, 2), channels=3).mean == (0.0, 0.0, 0.0)


def test_the_time_is_in_utc_and_to_the_second():
    found = datetime.fromisoformat(utc_now())
    assert found.tzinfo is not None
    assert found.microsecond == 0
    assert abs((datetime.now(UTC) - found).total_seconds()) < 60
