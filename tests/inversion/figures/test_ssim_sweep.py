"""Tests of similarity against the strength of a defence."""

from tests.inversion.figures.drawings import UPDATE, curve_of, points
from tests.inversion.figures.sweeps import defence_of, row

from medleak.inversion.figures import (
    AuditData,
    draw,
)


def test_curves_begin_at_the_round_in_which_they_go_on(make_audit):
    rows = [row(ssim=0.9, round=7), row(ssim=0.2, round=0), row(defence=defence_of(10), round=7)]
    figure = draw("ssim", AuditData.open(make_audit(rows)))
    _, line = curve_of(figure, "site-9", UPDATE)
    assert points(line)[0] == (0, 0.9), "round 0 was not attacked under the defence"
