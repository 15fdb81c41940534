"""Tests of leakage against the strength of a defence."""

import json
from dataclasses import replace

import pytest
from tests.inversion.figures.drawings import (
    accuracy_line,
    accuracy_lines,
    points,
    text_of,
)
from tests.inversion.figures.sweeps import sweep

from medleak.inversion.figures import (
    AuditData,
    draw,
)
from medleak.inversion.figures.table import lines


def test_accuracies_stand_on_a_second_axis(make_audit):
    out = make_audit(sweep())
    (out / "utility.json").write_text(json.dumps(accuracy_lines()))
    figure = draw("rdlv", AuditData.open(out))
    right = [a for a in figure.axes if not a.get_title()]
    (line,) = right[0].get_lines()
    assert points(line) == [
        (0, 0.93),
        (1, 0.925),
        (10, pytest.approx(0.88)),
        (25, pytest.approx(0.805)),
    ]
    assert "test accuracy (right axis)" in text_of(figure)


def test_a_figure_of_iip_says_among_how_many_images_it_looked(make_audit):
    rows = [replace(r, neighbours="3 - 7", gallery=412, class_mates=200) for r in sweep()]
    written = text_of(draw("iip", AuditData.open(make_audit(rows))))
    assert "share of the site's training images that are among the 3 nearest of 412" in written


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
