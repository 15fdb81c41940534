import dataclasses

import numpy as np
import pytest
from tests.inversion.report.answers import an_answer

from medleak.inversion.figures import AuditData, draw, draw_all
from medleak.inversion.figures.audit_data import MissingData
from medleak.inversion.figures.roc import FLOOR
from medleak.inversion.membership.files import Answer, write_answers
from medleak.inversion.results.case import Case

NOISE = "percentile_gaussian:sigma0=10"


@pytest.fixture
def audit(tmp_path):
    """Members that are told, and not any more under noise; no image was attacked."""
    answers = {}
    for defence, gap in (("none", 3.0), (NOISE, 0.0)):
        case = Case(0, "site-1", "membership/row_space", defence, "all", 0)
        entry = an_answer("site-1", gap=gap, defence=defence)
        keys = {f.name for f in dataclasses.fields(Case)}
        answers[case] = Answer({k: v for k, v in entry.items() if k not in keys}, ())
    write_answers(tmp_path, answers, "the rule")
    return AuditData.open(tmp_path)


def test_both_axes_are_logarithmic_and_chance_is_the_diagonal(audit):
    (axes,) = draw("roc", audit).get_axes()
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    chance, told, hidden = axes.get_lines()
    ends = [np.asarray(d).tolist() for d in (chance.get_xdata(), chance.get_ydata())]
    assert ends == [[FLOOR, 1], [FLOOR, 1]]
    assert np.asarray(told.get_ydata())[0] > 0.6
    assert hidden.get_label() == f"site-1, {NOISE}"
    assert np.all(np.asarray(hidden.get_ydata()) >= FLOOR)
    # A list of 120 others says nothing of 0.1 %.
    assert np.min(np.asarray(told.get_xdata())) == 0.01


def test_where_nobody_asked_the_figure_says_how_to(audit):
    with pytest.raises(MissingData, match="--candidates"):
        draw("roc", dataclasses.replace(audit, answers={}))


def test_figures_of_images_are_missing_and_not_broken(audit, tmp_path):
    drawn = list(draw_all(audit, tmp_path / "figures"))
    assert [d.name for d in drawn if d.path is not None] == ["roc"]
    assert all("rows of attacked updates" in (d.missing or "") for d in drawn if d.path is None)
