"""Tests of an audit as the report sees it."""

import json

from tests.inversion.report.directories import a_group, grid

from medleak.inversion.report.reading import read_audit
from medleak.inversion.report.wording import tried


def test_rounds_and_all_rounds_are_told_apart(directory):
    groups = [a_group("s"), a_group("s", round=0), a_group("s", round=4)]
    audit = read_audit(directory.write([], groups))
    assert [g.round for g in audit.groups] == [None, 0, 4]
    assert len(audit.overall) == 1


def test_sites_are_all_that_were_attacked_or_refused_in_natural_order(directory):
    refused = [{"case": {"site": "site-3"}, "why": ""}, {"case": "x"}, 3]
    rows = grid(["site-10", "site-2"])
    audit = read_audit(directory.write(rows, refused=refused, pictures=False))
    assert audit.sites == ["site-2", "site-3", "site-10"]


def test_what_was_tried_is_said_in_one_line(directory):
    rows = grid(["s"], rounds=3, defences=["none", "top_k:fraction=0.1"])
    rows = [r for r in rows if r.round != 1]
    groups = [a_group("s"), a_group("s", attack="dlg", defence="top_k:fraction=0.1")]
    assert tried(read_audit(directory.write(rows, groups, pictures=False))) == (
        "attacks row_space and dlg; rounds 0, 2; 2 runs of each; 4 pictures rebuilt; "
        "as sent, and under 1 protection put on afterwards"
    )


def test_rounds_of_one_round_alone_are_not_told_twice(directory):
    folder = directory.write([], [a_group("s")], pictures=False)
    path = folder / "summary.json"
    summary = json.loads(path.read_text())
    for rounds, count in (([3], 1), ([3, 4], 3)):
        found = [a_group("s", round=r) for r in rounds]
        path.write_text(json.dumps({**summary, "rounds": found}))
        assert len(read_audit(folder).groups) == count
