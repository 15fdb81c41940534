import dataclasses
import json

import pytest
from tests.inversion.linkage.runs import a_run

from medleak.custom.record import read_manifest, write_manifest
from medleak.inversion.audit.beside.registry import STEPS, write_beside
from medleak.inversion.audit.plan import Plan
from medleak.inversion.final_model.run import FILE as FINAL_MODEL
from medleak.inversion.report.attack_classes.registry import FILES
from medleak.inversion.results.files import write_json


@pytest.fixture
def plan(tmp_path):
    (tmp_path / "out").mkdir()
    return Plan(records=a_run(tmp_path, sites=3, rounds=2) / "records", out=tmp_path / "out")


def test_every_file_that_the_report_reads_beside_its_tables_is_written():
    """By an audit, or by the command of its own that asks what an audit of updates cannot."""
    assert set(FILES) <= {*STEPS, FINAL_MODEL}


def test_each_file_names_the_updates_that_it_is_about(plan):
    write_beside(plan)
    content = json.loads((plan.out / "attributes.json").read_text())
    assert content["updates"] == [f"{r}/site-{k}" for r in (0, 1) for k in (1, 2, 3)]
    assert content["format_version"] == 1


def test_each_file_names_its_run_and_what_was_recorded_anew_is_asked_anew(plan):
    write_beside(plan)
    first = json.loads((plan.out / "attributes.json").read_text())
    assert first["record"] == read_manifest(plan.records).identity()
    manifest = read_manifest(plan.records).model_copy(update={"created": "2027-01-01T00:00:00"})
    write_manifest(plan.records, manifest)
    write_beside(plan)
    second = json.loads((plan.out / "attributes.json").read_text())
    assert second["record"] == manifest.identity() != first["record"]
    write_json(plan.out / "config.json", {"updates": {"0/site-1": {"update": "1" * 64}}})
    write_beside(plan)
    third = json.loads((plan.out / "attributes.json").read_text())
    assert third["asked"] != second["asked"]


def test_what_fails_was_not_tested_and_the_others_are(plan):
    def broken(plan):
        raise ValueError("the record of\n site-2 is damaged")

    write_beside(plan, {"broken.json": broken, "whole.json": lambda plan: {"told": []}})
    content = json.loads((plan.out / "broken.json").read_text())
    assert content["not_tested"] == [{"what": "", "why": "the record of site-2 is damaged"}]
    assert (plan.out / "whole.json").is_file()


def test_the_same_plan_is_not_asked_again_and_another_or_one_that_failed_is(plan):
    calls = []

    def step(plan):
        calls.append(plan)
        if len(calls) == 1:
            raise ValueError("no room")
        return {"told": []}

    for _ in range(3):
        write_beside(plan, {"it.json": step})
    assert len(calls) == 2
    write_beside(dataclasses.replace(plan, rounds=[1]), {"it.json": step})
    assert len(calls) == 3
    (plan.out / "it.json").write_text("[]")
    write_beside(plan, {"it.json": step})
    assert len(calls) == 4
