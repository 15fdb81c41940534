"""Tests of what all figures against the strength of a defence share."""

import pytest
from tests.inversion.figures.drawings import UPDATE, curve_of, points
from tests.inversion.figures.sweeps import defence_of, row, sweep

from medleak.inversion.figures import draw
from medleak.inversion.figures.audit_data import AuditData, MissingData
from medleak.inversion.figures.strength_curves import kinds_of, panels_of, points_of, xy

GROUP = UPDATE.replace("update", "group")


def test_each_family_of_defences_is_a_curve(make_audit):
    assert set(kinds_of(AuditData.open(make_audit(sweep())), "sigma0")) == {UPDATE, GROUP}


def test_one_strength_alone_is_no_curve(make_audit):
    audit = AuditData.open(make_audit([row(defence=defence_of(10))]))
    with pytest.raises(MissingData, match="defences that differ in sigma0"):
        kinds_of(audit, "sigma0")


def test_points_are_means_by_strength_and_the_bare_update_is_strength_zero_of_each():
    rows = [row(ssim=0.9), row(image=1, ssim=0.7), row(defence=defence_of(10), ssim=0.4)]
    rows.append(row(defence=defence_of(1, "group"), ssim=0.6))
    update, group = (points_of(rows, kind, "sigma0", "ssim") for kind in (UPDATE, GROUP))
    assert xy(update) == ([0.0, 10.0], [pytest.approx(0.8), pytest.approx(0.4)])
    assert xy(group) == ([0.0, 1.0], [pytest.approx(0.8), pytest.approx(0.6)])


@pytest.mark.parametrize(("sites", "shown"), [(1, 1), (5, 5), (14, 12)])
def test_there_is_a_panel_a_site_up_to_a_page_of_them(sites, shown):
    figure, panels = panels_of([f"site-{k}" for k in range(sites)], "Caption.")
    assert len(panels) == len(figure.axes) == shown
    texts = " ".join(t.get_text() for t in figure.texts)
    assert ("The first 12 of 14 sites" in " ".join(texts.split())) == (sites > shown)


def test_curves_begin_at_the_round_in_which_they_go_on(make_audit):
    rows = [row(ssim=0.9, round=7), row(ssim=0.2, round=0), row(defence=defence_of(10), round=7)]
    figure = draw("ssim", AuditData.open(make_audit(rows)))
    _, line = curve_of(figure, "site-9", UPDATE)
    assert points(line)[0] == (0, 0.9), "round 0 was not attacked under the defence"
