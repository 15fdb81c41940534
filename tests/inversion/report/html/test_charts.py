"""Marks stand where their values are, and each curve says what it cannot show."""

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.inversion.report.directories import a_figure, a_group, grid

from medleak.inversion.report.html.charts import MOST_SERIES, Chart, Point, Series, draw
from medleak.inversion.report.html.curves import charts
from medleak.inversion.report.reading import read_audit


def chart(*series, zero=""):
    return Chart(
        key="k",
        title="t",
        x_label="x",
        y_label="y",
        ticks=[(0, "a"), (1, "b")],
        series=series,
        says="it",
        zero=zero,
    )


def line(name, *values, **options):
    return Series(name=name, points=[Point(x=x, y=y) for x, y in enumerate(values)], **options)


def test_higher_values_stand_higher_and_later_ones_further_right():
    (curve,) = draw(chart(line("s", 0.2, 0.8))).curves
    first, second = curve.marks
    assert first.x < second.x
    assert first.y > second.y  # SVG counts downwards


def test_marks_ticks_and_the_zero_line_share_one_scale():
    drawing = draw(chart(line("s", -1.0, 1.0), zero="zero"))
    where = {label: y for y, label in drawing.y_ticks}
    low, high = drawing.curves[0].marks
    assert (where["-1"], where["1"], where["0"]) == (low.y, high.y, drawing.zero_y)
    assert [x for x, _ in drawing.x_ticks] == [low.x, high.x]


def test_all_values_and_intervals_are_inside_the_frame():
    points = [Point(x=0, y=0.5, low=-3.0, high=4.0), Point(x=1, y=1e-12)]
    drawing = draw(chart(Series(name="s", points=points)))
    ends = [v for m in drawing.curves[0].marks for v in (m.y, m.low, m.high) if v is not None]
    assert all(drawing.top <= v <= drawing.bottom for v in ends)


@pytest.mark.parametrize("value", [0.0, 1.0, -3e5, 1e-9])
def test_a_single_value_can_be_drawn(value):
    drawing = draw(chart(line("s", value)))
    assert drawing.curves[0].path == ""
    assert drawing.top <= drawing.curves[0].marks[0].y <= drawing.bottom


def test_of_too_many_curves_the_highest_are_drawn_and_the_others_counted():
    series = [line(f"s{k}", float(k)) for k in range(MOST_SERIES + 3)]
    drawing = draw(chart(*series))
    assert [c.name for c in drawing.curves] == [f"s{k}" for k in range(3, MOST_SERIES + 3)]
    assert drawing.left_out == 3
    assert len({c.style for c in drawing.curves}) == MOST_SERIES


def test_marks_without_a_line_have_none():
    assert draw(chart(line("s", 1.0, 2.0, joined=False))).curves[0].path == ""


def test_nothing_to_draw_is_an_error():
    with pytest.raises(ValueError, match="no point"):
        draw(chart(Series(name="s", points=[])))


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


@given(st.lists(st.tuples(st.floats(0, 1), st.text(min_size=1, max_size=30)), min_size=1))
def test_labels_of_an_axis_never_overlap(ticks):
    points = [Point(x=x, y=0.5) for x, _ in ticks]
    one = dataclasses.replace(chart(Series(name="s", points=points)), ticks=ticks)
    shown = draw(one).x_ticks
    assert shown[0][0] == min(m.x for m in draw(one).curves[0].marks)
    for (left, a), (right, b) in itertools.pairwise(shown):
        assert right - left >= 3 * (len(a) + len(b))  # half the width of both, 6 px a letter


def test_many_groups_are_labelled_by_their_site_alone(directory):
    groups = [a_group(f"s{k}", attack=a) for k in range(3) for a in ("row_space", "dlg")]
    found = {c.key: c for c in charts(read_audit(directory.write([], groups, pictures=False)))}
    assert [label for _, label in found["nulls"].ticks] == ["s0", "s0", "s1", "s1", "s2", "s2"]
    assert found["nulls"].series[0].points[1].text == "s0, dlg"
