"""Tests of medleak.inversion.report.completeness."""

import dataclasses
from collections import Counter
from pathlib import Path

import pytest
from tests.inversion.report.answers import an_answer
from tests.inversion.report.directories import REACHED, a_figure, a_group
from tests.inversion.rows import ROW

from medleak.inversion.report.completeness import JOURNAL, not_examined
from medleak.inversion.report.model import Audit, Group
from medleak.inversion.report.reading import read_audit


def row(round, site, attack="row_space"):
    return dataclasses.replace(ROW, round=round, site=site, attack=attack, ssim=0.5)


def groups(rows):
    names = ("site", "attack", "defence", "declared", "knowledge")
    counts = Counter(tuple(getattr(row, name) for name in names) for row in rows)
    return [
        Group(**dict(zip(names, key, strict=True)), round=None, n=n, seeds=1, figures={})
        for key, n in counts.items()
    ]


@pytest.fixture
def audit(tmp_path):
    return Audit(
        folder=tmp_path,
        job="x",
        rows=[row(0, "a"), row(1, "a")],
        groups=groups([row(0, "a"), row(1, "a")]),
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
    """``audit`` with other ``fields``; the figures of its groups follow its rows."""
    if "rows" in fields:
        fields.setdefault("groups", groups(fields["rows"]))
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


def test_a_site_whose_images_nobody_listed_is_named(audit):
    rows = [row(0, "a"), dataclasses.replace(row(1, "a"), ssim=None)]
    assert not_examined([changed(audit, rows=rows)]) == []
    rows = [
        row(0, "a"),
        row(1, "a"),
        *(dataclasses.replace(row(1, s), ssim=None) for s in ("b10", "b9")),
    ]
    (sentence,) = not_examined([changed(audit, rows=rows)])
    assert sentence.startswith("what was rebuilt of 2 sites (b9, b10) was compared with nothing")


def test_a_killed_audit_is_told_by_its_journal(audit):
    Path(audit.folder, JOURNAL).touch()
    (said,) = not_examined([audit])
    assert "was killed" in said


def test_two_audits_of_different_sites_were_not_compared(audit):
    other = changed(audit, rows=[row(0, "b")], config={})
    (said,) = not_examined([audit, other])
    assert "no site in common" in said


def test_a_site_that_the_second_of_two_audits_is_silent_on_was_not_compared(audit):
    both = changed(audit, rows=[row(0, "a"), row(0, "b"), row(1, "a")])
    (said,) = not_examined([both, audit])
    assert said.startswith(f"1 site of {audit.folder.name} (b) is not in {audit.folder.name}")
    assert not_examined([audit, both]) == []  # of a site that is new the second audit speaks


def test_cases_that_were_planned_and_are_not_done_are_counted(audit):
    (said,) = not_examined([changed(audit, left={"a": 2, "b": 1})])
    assert "3 cases are not done" in said
    (said,) = not_examined([changed(audit, left={"a": 1})])
    assert "1 case is not done" in said


def test_a_table_and_a_summary_of_different_images_are_not_believed(audit):
    config = {**audit.config, "updates": {"0/a": {}}}
    cut = changed(audit, rows=audit.rows[:1], groups=audit.groups, config=config)
    (said,) = not_examined([cut])
    assert "figures of 2 images and results.csv lists 1" in said
    other = changed(cut, rows=[dataclasses.replace(row(0, "a"), defence="noise")] * 2)
    assert not_examined([other]) == []
    (said,) = not_examined([changed(other, groups=audit.groups)])
    assert "is of another audit" in said
    (said,) = not_examined([changed(audit, groups=[])])
    assert "figures of 0 images and results.csv lists 2" in said


SAMPLE = {
    "strata": [{"sizes": [1, 9], "sites": 4, "drawn": ["a", "b"]}],
    "not_examined": {"a": 3, "c": 5, "d": 5},
}


def test_what_a_sample_left_out_is_not_known(audit):
    sampled = changed(audit, config={**audit.config, "sample": SAMPLE})
    others, rounds, bound = not_examined([sampled])
    assert "2 sites were not drawn and not looked at" in others
    assert "3 updates of the drawn sites were not looked at" in rounds
    assert "at most 4 would be found to leak or stay unknown" in bound  # nothing clears a and b


def test_a_drawn_site_of_which_members_are_told_is_not_counted_as_clear(directory):
    nothing = {"rdlv": a_figure(-0.3), "ssim": a_figure(0.3)}
    groups = [a_group(site, **nothing) for site in "ab"]
    config = {"sample": SAMPLE}
    bounds = []
    for membership in ((), [an_answer("a")]):
        folder = directory.write((), groups, health=REACHED, config=config, membership=membership)
        (bound,) = [text for text in not_examined([read_audit(folder)]) if "95 %" in text]
        bounds.append(bound)
    assert "at most 2 would be found to leak" in bounds[0]
    assert "at most 3 would be found to leak" in bounds[1]


def test_what_was_left_out_as_a_site_leaks_is_said_and_is_no_gap(audit):
    kept = changed(audit, rows=audit.rows[:1])
    (missing,) = not_examined([kept])
    assert "neither figures nor a reason" in missing
    (said,) = not_examined([changed(kept, settled={(1, "a"): 2})])
    assert "2 cases of 1 site left out, as it was settled before that it leaks" in said
