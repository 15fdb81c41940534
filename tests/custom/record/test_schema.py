"""Tests of what the JSON files of a record may say."""

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from medleak.custom.record.schema import (
    CRITERIA,
    SCHEDULE,
    InputSpec,
    Manifest,
    TaskSpec,
    UpdateInfo,
    utc_now,
)

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
        {"betas": [0.9, 1.0]},
        {"eps": 0},
        {"accumulation_steps": 0},
        {"precision": "float8"},
        {"sources": {"lr": "guessed"}},
        {"sources": {"speed": "declared"}},
    ],
)
def test_a_value_that_no_training_has_is_refused(change):
    with pytest.raises(ValidationError):
        UpdateInfo.model_validate({**INFO, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"format_version": 3},
        {"task": {"num_classes": 0}},
        {"task": {"num_classes": 2, "criterion": "hinge"}},
        {"input": {"spatial_size": [16, 0], "channels": 1}},
        {"input": {"spatial_size": [16, 16], "channels": 0}},
        {"input": {"spatial_size": [16], "channels": 1}},
        {"input": {"spatial_size": [16, 16, 16, 16], "channels": 1}},
        {"input": {"spatial_size": [16, 16], "channels": 4, "mean": [0.5, 0.5, 0.5]}},
        {"input": {"spatial_size": [16, 16], "channels": 1, "mean": [], "std": []}},
        {"input": {"spatial_size": [16, 16], "channels": 1, "mean": [0.5], "std": [1, 1]}},
        {"sources": {"model": "guessed"}},
        {"sources": {"loss": "declared"}},
        {"input": {"spatial_size": [16, 16], "channels": 1, "std": [0.0, 1.0, 1.0]}},
    ],
)
def test_a_manifest_of_no_run_is_refused(change):
    with pytest.raises(ValidationError):
        Manifest.model_validate({**MANIFEST, **change})


def test_every_field_of_a_schedule_has_a_source():
    info = UpdateInfo.model_validate({**INFO, "sources": {"lr": "given", "momentum": "given"}})
    assert set(info.sources) == set(SCHEDULE)
    assert info.sources["lr"] == "given"
    assert info.sources["n_images"] == "declared"
    assert info.sources["momentum"] == "unknown"  # there is no value to have a source
    copy = info.model_copy(update={"momentum": 0.5})
    assert UpdateInfo.model_validate(copy.model_dump()).sources["momentum"] == "declared"


def test_a_schedule_that_is_given_later_says_so_and_is_checked():
    info = UpdateInfo.model_validate({**INFO, "lr": None, "sha256": {"global": "a", "update": "b"}})
    found = info.with_schedule("given", lr=0.5, optimizer="adamw")
    assert (found.lr, found.optimizer, found.n_images) == (0.5, "adamw", 4)
    assert (found.sources["lr"], found.sources["n_images"]) == ("given", "declared")
    assert found.sha256 == info.sha256
    for wrong in ({"lr": -1}, {"speed": 3}):
        with pytest.raises(ValidationError):
            info.with_schedule("given", **wrong)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_every_loss_that_has_a_name_can_be_recorded(criterion):
    assert TaskSpec(criterion=criterion, num_classes=14).criterion == criterion


def test_a_picture_is_gray_or_colour_and_flat():
    assert InputSpec(spatial_size=(4, 6), channels=1).picture() == ((4, 6), 1)
    assert InputSpec(spatial_size=(4, 6), channels=3).picture() == ((4, 6), 3)
    volume = InputSpec(spatial_size=(4, 6, 8), channels=1)
    for spec in (volume, InputSpec(spatial_size=(4, 6), channels=2)):
        with pytest.raises(ValueError, match="Nothing was examined"):
            spec.picture()


def test_records_do_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        TaskSpec(num_classes=2).num_classes = 3  # type: ignore[misc]
    assert InputSpec(spatial_size=(1, 2), channels=3).mean is None


def test_the_time_is_in_utc_and_to_the_second():
    found = datetime.fromisoformat(utc_now())
    assert found.tzinfo is not None
    assert found.microsecond == 0
    assert abs((datetime.now(UTC) - found).total_seconds()) < 60
