"""Tests of the curves of the report."""

import json

import pytest
from tests.inversion.report.directories import a_figure, a_group, grid

from medleak.inversion.report.html.curves import charts
from medleak.inversion.report.reading import read_audit


def keys(folder):
    return {c.key: c for c in charts(read_audit(folder))}


def test_a_plain_audit_has_thresholds_and_nulls_alone(directory):
    found = keys(directory.write(grid(["s"], rounds=1), pictures=False))
    assert set(found) == {"thresholds", "nulls"}


def test_rounds_and_strengths_get_their_curves(directory):
    defences = ["none", "top_k:fraction=0.5", "top_k:fraction=0.1"]
    found = keys(directory.write(grid(["s"], rounds=3, defences=defences), pictures=False))
    assert [label for _, label in found["strength0"].ticks] == ["none", "0.5", "0.1"]
    (curve,) = found["rounds"].series
    assert [p.x for p in curve.points] == [0, 1, 2]


def test_rounds_of_the_audit_come_with_their_intervals(directory):
    groups = [a_group("s"), *(a_group("s", round=r, rdlv=a_figure(r / 10)) for r in (0, 1))]
    found = keys(directory.write(grid(["s"]), groups, pictures=False))
    (curve,) = found["rounds"].series
    assert [(p.y, p.high) for p in curve.points] == [(0.0, 0.05), (0.1, pytest.approx(0.15))]


def test_success_rates_are_counted_where_the_summary_has_none_and_taken_where_it_has(directory):
    found = keys(directory.write(grid(["s"], leak={"s": 0.6}), pictures=False))
    (counted,) = found["thresholds"].series
    assert [p.y for p in counted.points] == [1.0] * 5 + [0.0] * 5  # SSIM 0.748
    group = a_group("s", asr_sweep={"0.5": 0.25, "0.9": 0.125, "rubbish": 1})
    found = keys(directory.write([], [group], pictures=False))
    assert [(p.x, p.y) for p in found["thresholds"].series[0].points] == [(0.5, 0.25), (0.9, 0.125)]


def test_every_null_that_the_audit_has_is_drawn(directory):
    nulls = {"prior": 0.5, "class_mean": 0.4, "nonmember": 0.6, "other": {"mean": 0.3}}
    found = keys(directory.write([], [a_group("s", nulls=nulls)], pictures=False))
    assert [s.points[0].y for s in found["nulls"].series] == [0.6, 0.5, 0.4, 0.6, 0.3]


def test_curves_are_named_by_attack_and_knowledge_only_where_there_are_several(directory):
    found = keys(directory.write([], [a_group("s"), a_group("s", attack="dlg")], pictures=False))
    assert [label for _, label in found["nulls"].ticks] == ["s, row_space", "s, dlg"]


def with_accuracies(directory, accuracies):
    """Two sites under none and two strengths; the second site leaks 0.1 less."""
    rdlv = {"none": 0.5, "top_k:fraction=0.5": 0.3, "top_k:fraction=0.1": 0.2}
    groups = [
        a_group(site, defence=d, rdlv=a_figure(mean - less))
        for site, less in (("a", 0.0), ("b", 0.1))
        for d, mean in rdlv.items()
    ]
    folder = directory.write([], groups, pictures=False)
    entries = [{"defence": d, "accuracy": a} for d, a in accuracies.items()]
    (folder / "utility.json").write_text(json.dumps(entries))
    return keys(folder)


def test_the_front_joins_what_no_other_protection_beats_at_the_worst_site(directory):
    texts = ("none", "top_k:fraction=0.5", "top_k:fraction=0.1")
    chart = with_accuracies(directory, dict(zip(texts, (0.9, 0.7, 0.8), strict=True)))["front"]
    best, beaten = chart.series
    assert [(p.x, p.y) for p in best.points] == [(0.8, 0.25), (0.9, 0.55)]
    assert [(p.x, p.y) for p in beaten.points] == [(0.7, 0.35)]
    assert (best.joined, beaten.joined) == (True, False)
    assert best.points[0].text == "top_k:fraction=0.1, accuracy 0.800, a"


def test_a_protection_of_other_settings_lends_its_accuracy_to_none(directory):
    found = with_accuracies(directory, {"top_k:fraction=0.3": 0.9, "withhold": 0.8})
    assert "front" not in found
