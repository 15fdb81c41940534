"""Tests of figures made of pictures."""

import numpy as np
from tests.inversion.figures.drawings import text_of
from tests.inversion.figures.sweeps import row, sweep

from medleak.inversion.figures import (
    AuditData,
    draw,
)


def test_pictures_show_the_pixels_of_the_audit(make_audit):
    out = make_audit([row(ssim=0.97), row(ssim=0.6, seed=1), row("site-1", 1, ssim=0.8)])
    audit = AuditData.open(out)
    figure = draw("rounds", audit)
    shown = [np.asarray(a.images[0].get_array()) for a in figure.axes if a.images]
    (best,) = [r for r in audit.rows if r.ssim == 0.97]
    assert best.truth_picture
    for wanted in (best.truth_picture, "images/prior.png", best.picture):
        assert any(np.array_equal(audit.picture(wanted), s) for s in shown), wanted
    assert "SSIM 0.97" in text_of(figure)
    assert "SSIM 0.60" not in text_of(figure), "of two seeds the better one is shown"


def test_iterations_are_shown_in_their_order_and_end_with_the_result(make_audit):
    out = make_audit([row()])
    audit = AuditData.open(out)
    picture = audit.rows[0].picture
    for n in (5, 100, 20):
        name = picture.replace(".png", f"_it{n:04d}.png")
        (out / name).write_bytes((out / picture).read_bytes())
    notes = [a.get_xlabel() for a in draw("iterations", audit).axes]
    assert notes == ["", "iteration 5", "iteration 20", "iteration 100", "SSIM 0.90"]


def test_a_picture_chosen_among_seeds_is_said_to_be_the_best(make_audit):
    audit = AuditData.open(make_audit(sweep()))
    assert "the best of its seeds and rounds" in text_of(draw("noise", audit))
    assert "(the best of its seeds)" in text_of(draw("rounds", audit))
    alone = audit.where(lambda r: r.seed == 0 and r.round == 0)
    assert "the best of" not in text_of(draw("noise", alone))
