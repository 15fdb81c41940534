"""Tests of medleak.inversion.report.completeness."""

import dataclasses
from pathlib import Path

import pytest

from medleak.inversion.report.completeness import JOURNAL, not_examined
from medleak.inversion.report.model import Audit
from medleak.inversion.results.rows import Row


def row(round, site, attack="row_space"):
    return Row(
        round=round,
        site=site,
        attack=attack,
        defence="none",
        declared="none",
        knowledge="all",
        seed=0,
        reconstruction=0,
        seconds=1.0,
        iterations=1,
        attempts=1,
        stuck=False,
        losses="",
        picture="",
    )


@pytest.fixture
def audit(tmp_path):
    return Audit(
        folder=tmp_path,
        job="x",
        rows=[row(0, "a"), row(1, "a")],
        groups=[],
        refused=[],
        health={},
        definitions={},
        config={"updates": {"0/a": {}, "1/a": {}}, "attacks": {"row_space": {}}},
        calibrations=[],
        utility=[],
        ledgers=[],
        missing=[],
    )


def changed(audit, **fields):
    return dataclasses.replace(audit, **fields)


def test_an_audit_of_all_its_updates_leaves_nothing_open(audit):
    assert not_examined([audit]) == []
    assert not_examined([audit, audit]) == []


def test_an_audit_that_attacked_nothing_says_of_no_site_that_it_is_safe(audit):
    (said,) = not_examined([changed(audit, rows=[])])
    assert "attacked nothing" in said


def test_updates_without_a_figure_are_named_and_so_are_refused_cases(audit):
    (said,) = not_examined([changed(audit, rows=[row(0, "a")])])
    assert "1 updates" in said
    assert "(1/a)" in said
    refused = [{"case": {"site": "a", "round": 1}, "why": "damaged"}]
    (said,) = not_examined([changed(audit, rows=[row(0, "a")], refused=refused)])
    assert "1 case of" in said


def test_an_attack_that_joins_rounds_needs_one_case_a_site(audit):
    config = {**audit.config, "attacks": {"average/row_space": {}}}
    assert not_examined([changed(audit, rows=[row(1, "a")], config=config)]) == []
    (said,) = not_examined([changed(audit, rows=[row(1, "b")], config=config)])
    assert "2 updates" in said


def test_a_killed_audit_is_told_by_its_journal(audit):
    Path(audit.folder, JOURNAL).touch()
    (said,) = not_examined([audit])
    assert "was killed" in said


def test_two_audits_of_different_sites_were_not_compared(audit):
    other = changed(audit, rows=[row(0, "b")], config={})
    (said,) = not_examined([audit, other])
    assert "no site in common" in said
