"""Tests of what an auditor says of a record."""

import json

import pytest

from medleak.custom.record import (
    InputSpec,
    Manifest,
    ModelSpec,
    TaskSpec,
    UnknownError,
    read_manifest,
)
from medleak.custom.record.texts import input_of
from medleak.inversion.statement import Given

SILENT = Manifest(job="j", created="2026-01-01T00:00:00+00:00")


def test_what_is_given_goes_before_what_is_declared_and_says_so():
    declared = InputSpec(spatial_size=(8, 8), channels=1, mean=(0.1,), std=(0.2,))
    manifest = SILENT.model_copy(update={"input": declared, "sources": {"input": "declared"}})
    found = Given(mean=(0.5,), task=TaskSpec(num_classes=3)).of_manifest(manifest)
    assert found.known_input() == declared.model_copy(update={"mean": (0.5,)})
    assert found.sources == {"model": "unknown", "task": "given", "input": "given"}
    larger = Given(input=input_of("16x16x1")).of_manifest(manifest).known_input()
    assert (larger.spatial_size, larger.mean, larger.std) == ((16, 16), (0.1,), (0.2,))
    assert Given().of_manifest(manifest) is manifest


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(ValueError, match="--input, --mean and --std"):
        Given(input=input_of("8x8x3"), mean=(0.1, 0.2)).of_manifest(SILENT)
    with pytest.raises(UnknownError, match="size of an image"):
        Given(mean=(0.1,)).of_manifest(SILENT)


def test_a_record_is_read_with_what_is_given(make_run):
    run = make_run({"site-9": 2})
    given = Given(schedule={"lr": 0.5}, model=ModelSpec(path="a.b"))
    found = given.record(run.records, 0, "site-9")
    assert found.info.lr == given.info(run.records, 0, "site-9").lr == 0.5
    assert found.info.sources["lr"] == "given"
    assert found.info.sources["n_images"] == "declared"
    assert found.manifest.known_model().path == "a.b"
    assert given.manifest(run.records).sources["model"] == "given"
    assert json.loads(read_manifest(run.records).model_dump_json())["model"]["path"] != "a.b"
