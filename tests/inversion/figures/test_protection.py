"""Tests of the one text for a defence, wherever it was applied."""

import json
from dataclasses import replace

from tests.inversion.figures.drawings import (
    accuracy_line,
    points,
)
from tests.inversion.figures.sweeps import row, sweep

from medleak.inversion.figures import (
    AuditData,
    draw,
)
from medleak.inversion.figures.protection import dose, protection
from medleak.inversion.figures.table import lines


def test_a_defence_is_known_by_what_it_does_and_not_by_its_text(make_audit):
    out = make_audit(sweep(scopes=("update",)))
    texts = [f"percentile_gaussian:sigma0={s:.1f}" for s in (1, 10)]
    other = accuracy_line("percentile_gaussian:sigma0=10,scope=group", None, 0.1)
    found = [accuracy_line(text, None, 0.8) for text in texts]
    (out / "utility.json").write_text(json.dumps([*found, other]))
    audit = AuditData.open(out)
    known = {one.protection: one.accuracy and one.accuracy.accuracy for one in lines(audit)}
    assert known == {
        "none": None,
        **{f"percentile_gaussian:sigma0={s},scope=update": 0.8 for s in (1, 10)},
        "percentile_gaussian:sigma0=25,scope=update": None,
    }
    (line,) = next(a for a in draw("rdlv", audit).axes if not a.get_title()).get_lines()
    assert points(line) == [(1, 0.8), (10, 0.8)]


def test_a_declared_defence_protects_as_a_replayed_one():
    declared = row(declared="percentile_gaussian:sigma0=10", site="a")
    both = replace(declared, defence="top_k:fraction=0.1")
    assert protection(declared) == "percentile_gaussian:sigma0=10"
    assert protection(both) == "percentile_gaussian:sigma0=10 + top_k:fraction=0.1"
    assert dose(protection(declared)).strength == 10  # pyright: ignore[reportOptionalMemberAccess]
