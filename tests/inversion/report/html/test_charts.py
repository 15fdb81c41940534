"""Marks stand where their values are, and each curve says what it cannot show."""

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.inversion.report.directories import a_group

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
