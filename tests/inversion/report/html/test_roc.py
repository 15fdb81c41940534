import itertools

import pytest
from tests.inversion.report.answers import an_answer

from medleak.inversion.report.attack_classes.final_model import FILE
from medleak.inversion.report.html.charts import HEIGHT, draw
from medleak.inversion.report.html.roc import charts
from medleak.inversion.report.reading import read_audit
from medleak.inversion.results.files import read_config, write_json

NOISE = "percentile_gaussian:sigma0={}"


@pytest.fixture
def audit(directory):
    answers = [an_answer("site-1"), an_answer("site-2", gap=0.0)]
    answers += [an_answer("site-1", gap=0.0, defence=NOISE.format(k), seed=k) for k in (1, 10)]
    return read_audit(directory.write([], [], pictures=False, membership=answers))


def test_a_decade_is_as_long_as_the_next_on_both_axes_and_chance_is_straight(audit):
    drawing = draw(next(charts(audit)))
    ticks = [x for x, _ in drawing.x_ticks]
    assert [label for _, label in drawing.x_ticks] == ["0.1 %", "1 %", "10 %", "100 %"]
    steps = [b - a for a, b in itertools.pairwise(ticks)]
    assert max(steps) - min(steps) < 0.2
    assert [label for _, label in drawing.y_ticks] == ["0.001", "0.01", "0.1", "1"]
    (chance,) = [c for c in drawing.curves if c.name == "chance"]
    heights = [m.y for m in chance.marks]
    falls = [a - b for a, b in itertools.pairwise(heights)]
    assert max(falls) - min(falls) < 0.2


def test_bands_hold_the_curve_and_a_rate_of_zero_stands_at_the_floor(audit):
    drawing = draw(next(charts(audit)))
    told, *_ = drawing.curves
    assert told.name == "site-1"
    assert told.band.startswith("M")
    assert told.band.endswith("Z")
    assert all(m.low is None for m in told.marks)  # bars would hide the band
    assert all(0 < m.y < HEIGHT for c in drawing.curves for m in c.marks)


def test_the_final_model_has_a_curve_beside_the_updates_and_alone(audit, directory):
    asked = {"membership": {"separation": an_answer("x", gap=1.0)["separation"]}}
    write_json(audit.folder / FILE, asked | {"record": read_config(audit.folder)["record"]})
    names = [s.name for s in next(charts(read_audit(audit.folder))).series]
    assert names[-2:] == ["final model alone", "chance"]
    directory.write([], [], pictures=False)
    names = [s.name for s in next(charts(read_audit(audit.folder))).series]
    assert names == ["final model alone", "chance"]
    write_json(audit.folder / FILE, asked | {"record": {"job": "another"}})
    assert list(charts(read_audit(audit.folder))) == []


def test_auc_falls_along_the_strength_and_no_chart_is_drawn_of_nothing(audit, directory):
    _, by_strength = charts(audit)
    first, second = by_strength.series
    assert [p.text for p in first.points] == ["none", "1", "10"]
    assert first.points[0].y > 0.9 > 0.7 > first.points[1].y
    assert second.name == "site-2"
    assert len(second.points) == 1
    assert list(charts(read_audit(directory.write([], [], pictures=False)))) == []
