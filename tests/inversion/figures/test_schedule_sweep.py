"""Tests of similarity against how a site trained."""

from dataclasses import replace

import pytest
from tests.inversion.figures.drawings import points, text_of
from tests.inversion.figures.sweeps import row

from medleak.inversion.figures.audit_data import AuditData, MissingData, Schedule
from medleak.inversion.figures.schedule_sweep import ssim_by_schedule

HOW = {"one": (1, 1), "four": (4, 1), "steps": (1, 4)}


def audit_of(make_audit, how=HOW):
    rows = [row(site, image=k, ssim=0.9 - 0.1 * n) for n, site in enumerate(how) for k in range(2)]
    audit = AuditData.open(make_audit(rows))
    return replace(audit, schedules={(0, site): Schedule(*s) for site, s in how.items()})


def test_batches_and_steps_have_a_panel_each_with_the_means_of_their_sites(make_audit):
    figure = ssim_by_schedule(audit_of(make_audit))
    left, right = figure.axes
    assert points(left.get_lines()[0]) == [(1, pytest.approx(0.9)), (4, pytest.approx(0.8))]
    assert points(right.get_lines()[0]) == [(1, pytest.approx(0.9)), (4, pytest.approx(0.7))]
    assert "row_space" in text_of(figure)


def test_one_image_alone_is_followed_where_that_was_asked(make_audit):
    figure = ssim_by_schedule(audit_of(make_audit), image="training[1]")
    assert "Image training[1] alone" in text_of(figure)
    assert "3 images of 3 sites" in text_of(figure)


def test_without_the_run_or_with_sites_that_trained_alike_there_is_nothing_to_draw(make_audit):
    bare = replace(audit_of(make_audit), schedules=None)
    with pytest.raises(MissingData, match="--run RUN"):
        ssim_by_schedule(bare)
    alike = replace(bare, schedules={(0, site): Schedule(4, 1) for site in HOW})
    with pytest.raises(MissingData, match="differ in batch size or local steps"):
        ssim_by_schedule(alike)
