"""Tests of the figures of an audit: one contract for all."""

import struct
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from tests.inversion.figures.drawings import HOSTILE, UPDATE, curve_of, points, text_of
from tests.inversion.figures.sweeps import row, sweep

from medleak.inversion.figures import (
    FIGURES,
    AuditData,
    draw,
    draw_all,
)
from medleak.inversion.figures.table import lines
from medleak.inversion.results.strength import strength_of

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["rounds", "ssim", "rdlv", "iip", "noise"])
def test_a_figure_is_made_from_an_audit(name, make_audit):
    figure = draw(name, AuditData.open(make_audit(sweep())))
    assert len(figure.axes) >= 2
    written = text_of(figure)
    assert "site-9" in written
    assert "row_space" in written, "the caption names the attack"
    assert "all, labels inferred" in written, "and what it knew"
    assert "6 images of 2 sites" in written
    assert "2 seeds" in written


@pytest.mark.parametrize(("name", "column"), [("rdlv", "rdlv"), ("ssim", "ssim"), ("iip", "iip")])
def test_curves_and_bands_are_the_numbers_of_the_table(name, column, make_audit):
    audit = AuditData.open(make_audit(sweep()))
    figure = draw(name, audit)
    for site in audit.sites:
        axes, line = curve_of(figure, site, UPDATE)
        expected = {
            d.at: getattr(one, column)
            for one in lines(audit)
            if one.site == site
            and (d := strength_of(one.protection, "sigma0")).family in (UPDATE, "none")
        }
        assert dict(points(line)) == {x: e.mean for x, e in expected.items()}
        band = next(c for c in axes.collections if isinstance(c, PolyCollection))
        corners = {tuple(v) for v in np.asarray(band.get_paths()[0].vertices)}
        for x, e in expected.items():
            assert {(x, e.lower95), (x, e.upper95)} <= corners


def test_a_figure_without_data_says_what_is_missing_and_how_to_make_it(make_audit, tmp_path):
    audit = AuditData.open(make_audit([row()]))
    drawn = {d.name: d for d in draw_all(audit, tmp_path / "out")}
    assert drawn["rounds"].path == tmp_path / "out" / "rounds.png"
    for name in FIGURES.keys() - {"rounds"}:
        assert drawn[name].path is None
        assert "lacks" in (drawn[name].missing or "")
        assert "`medleak " in (drawn[name].missing or "")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["rounds.png"]


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_hostile_names_are_drawn_as_plain_text(suffix, make_audit, tmp_path):
    rows = [
        replace(r, site=name, attack="$\\frac{", knowledge="<b>$")
        for name in HOSTILE
        for r in sweep(sites=("s",), scopes=("update",), images=1, seeds=1, rounds=(0,))
    ]
    audit = AuditData.open(make_audit(rows))
    for d in draw_all(audit, tmp_path / "out", ("rounds", "rdlv", "noise"), suffix):
        assert d.path, d.missing
        data = d.path.read_bytes()
        assert len(data) > 1000
        assert b"<script>" not in data


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_a_figure_holds_no_metadata_and_is_the_same_again(suffix, make_audit, tmp_path):
    audit = AuditData.open(make_audit(sweep()))
    first, again = (
        [d.path.read_bytes() for d in draw_all(audit, tmp_path / n, ("rdlv", "noise"), suffix)]  # pyright: ignore[reportOptionalMemberAccess]
        for n in ("a", "b")
    )
    assert first == again
    for data in first:
        for word in (b"atplotlib v", b"Software", b"CreationDate", b"<dc:", b"tEXt", b"Pillow"):
            assert word not in data, word
        if suffix == "png":
            assert {kind for kind, _ in chunks(data)} <= {b"IHDR", b"PLTE", b"IDAT", b"IEND"}


def chunks(png: bytes):
    at = 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        yield png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        at += 12 + length


def test_figures_of_nine_sites_stay_small(make_audit, tmp_path):
    audit = AuditData.open(make_audit(sweep([f"site-{k}" for k in range(1, 10)], images=1)))
    for d in draw_all(audit, tmp_path, ("rdlv", "noise")):
        assert d.path
        assert d.path.stat().st_size < 150_000, d.name
