import json
import struct
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from tests.inversion.figures.sweeps import defence_of, row, sweep

from medleak.inversion.figures import (
    FIGURES,
    AuditData,
    MissingData,
    draw,
    draw_all,
    embeddings,
    table,
)
from medleak.inversion.figures.estimates import estimate
from medleak.inversion.figures.protection import dose, protection
from medleak.inversion.figures.style import label
from medleak.inversion.figures.table import lines

UPDATE = "percentile_gaussian:scope=update"
HOSTILE = [
    "<script>alert(1)</script>",
    "$x_{",
    "$\\frac{1}{2}$",
    "a" * 300,
    "\u05d1\u05d9\u05ea \u05d7\u05d5\u05dc\u05d9\u05dd",
    "_hidden",
    "\u4e2d\u56fd\U0001f3e5",
    "a\nb\x1b[31m|`*",
]


def text_of(figure: Figure) -> str:
    """Everything that is written on a figure."""
    texts = [t for t in figure.findobj(lambda a: hasattr(a, "get_text"))]
    words = "\n".join(t.get_text() for t in texts)  # pyright: ignore[reportAttributeAccessIssue]
    return " ".join(words.split())  # captions are wrapped


def accuracy_line(defence: str, strength: float | None, accuracy: float) -> dict:
    """As `medleak.inversion.results.utility` writes it."""
    limits = {"lower95": accuracy - 0.03, "upper95": min(1.0, accuracy + 0.03)}
    line = {"defence": defence, "strength": strength, "accuracy": accuracy, **limits}
    return {**line, "n": 200, "source": "run"}


def accuracy_lines(strengths=(1, 10, 25)) -> list[dict]:
    noisy = [accuracy_line(UPDATE, s, 0.93 - 0.005 * s) for s in strengths]
    return [accuracy_line("none", None, 0.93), *noisy]


def points(line: Line2D) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in np.asarray(line.get_xydata())]


def curve_of(figure: Figure, site: str, name: str):
    (axes,) = [a for a in figure.axes if a.get_title() == site]
    (line,) = [x for x in axes.get_lines() if x.get_label() == name]
    return axes, line


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
            d.strength: getattr(one, column)
            for one in lines(audit)
            if one.site == site and (d := dose(one.protection)) and d.family in (UPDATE, "none")
        }
        assert dict(points(line)) == {x: e.mean for x, e in expected.items()}
        band = next(c for c in axes.collections if isinstance(c, PolyCollection))
        corners = {tuple(v) for v in np.asarray(band.get_paths()[0].vertices)}
        for x, e in expected.items():
            assert {(x, e.lower95), (x, e.upper95)} <= corners


def test_accuracies_stand_on_a_second_axis(make_audit):
    out = make_audit(sweep())
    (out / "utility.json").write_text(json.dumps(accuracy_lines()))
    figure = draw("rdlv", AuditData.open(out))
    right = [a for a in figure.axes if not a.get_title()]
    (line,) = right[0].get_lines()
    assert points(line) == [
        (0, 0.93),
        (1, 0.925),
        (10, pytest.approx(0.88)),
        (25, pytest.approx(0.805)),
    ]
    assert "test accuracy (right axis)" in text_of(figure)


def test_a_defence_is_known_by_what_it_does_and_not_by_its_text(make_audit):
    out = make_audit(sweep(scopes=("update",)))
    texts = [f"percentile_gaussian:sigma0={s:.1f}" for s in (1, 10)]
    other = accuracy_line("percentile_gaussian:sigma0=10,scope=group", None, 0.1)
    found = [accuracy_line(text, None, 0.8) for text in texts]
    (out / "utility.json").write_text(json.dumps([*found, other]))
    audit = AuditData.open(out)
    known = {one.protection: one.accuracy and one.accuracy.accuracy for one in lines(audit)}
    assert known == {
        "none": None,
        **{f"percentile_gaussian:sigma0={s},scope=update": 0.8 for s in (1, 10)},
        "percentile_gaussian:sigma0=25,scope=update": None,
    }
    (line,) = next(a for a in draw("rdlv", audit).axes if not a.get_title()).get_lines()
    assert points(line) == [(1, 0.8), (10, 0.8)]


def test_the_front_joins_what_no_other_defence_beats(make_audit):
    out = make_audit(sweep(scopes=("update",)))
    worse = [*accuracy_lines((1, 10)), accuracy_line(UPDATE, 25, 0.95)]
    (out / "utility.json").write_text(json.dumps(worse))
    audit = AuditData.open(out)
    figure = draw("front", audit)
    (axes,) = figure.axes
    worst = {
        name: max(one.rdlv.upper95 for one in lines(audit) if one.protection == name and one.rdlv)
        for name in {one.protection for one in lines(audit)}
    }
    drawn = {x.get_label(): points(x)[0] for x in axes.get_lines()}
    assert drawn["none"] == (worst["none"], 0.93)
    assert points(axes.get_lines()[-1]) == [
        (worst["percentile_gaussian:sigma0=25,scope=update"], 0.95)
    ], "the strongest noise is the most accurate here, and so beats all others"


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


def test_a_figure_without_data_says_what_is_missing_and_how_to_make_it(make_audit, tmp_path):
    audit = AuditData.open(make_audit([row()]))
    drawn = {d.name: d for d in draw_all(audit, tmp_path / "out")}
    assert drawn["rounds"].path == tmp_path / "out" / "rounds.png"
    for name in FIGURES.keys() - {"rounds"}:
        assert drawn[name].path is None
        assert "lacks" in (drawn[name].missing or "")
        assert "`medleak " in (drawn[name].missing or "")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["rounds.png"]


def test_a_picture_that_is_gone_is_missing_data(make_audit):
    out = make_audit([row()])
    (out / "images" / "prior.png").unlink()
    with pytest.raises(MissingData, match=r"images/prior\.png"):
        draw("rounds", AuditData.open(out))


@pytest.mark.parametrize("escape", ["../secret.png", "/etc/hostname"])
def test_a_row_cannot_make_us_read_a_file_elsewhere(escape, make_audit, tmp_path):
    out = make_audit([row()])
    (tmp_path / "secret.png").write_bytes((out / "images" / "prior.png").read_bytes())
    with pytest.raises(MissingData):
        AuditData.open(out).picture(escape)


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


def test_a_dollar_is_a_dollar_and_what_the_font_lacks_is_a_box():
    assert label("$x_{") == r"\$x_{"
    assert label("\U0001f3e5 a\nb\x07c") == "□ a b c"
    assert len(label("a" * 300)) <= 28
    assert not label("_hidden").startswith("_"), "legends would leave it out"


def test_a_hostile_name_cannot_break_the_markdown_table(make_audit, tmp_path):
    rows = [row(name, k) for k, name in enumerate(HOSTILE)]
    audit = AuditData.open(make_audit(rows))
    table(audit, tmp_path)
    body = (tmp_path / "table.md").read_text().split("\n\n")[0].splitlines()
    assert len(body) == 2 + len(HOSTILE)
    assert len({line.replace(r"\|", "").count("|") for line in body}) == 1
    assert not any("<script" in line or "\x1b" in line for line in body)


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


def test_matplotlibs_settings_are_as_before(make_audit):
    import matplotlib

    before = dict(matplotlib.rcParams)
    draw("rdlv", AuditData.open(make_audit(sweep())))
    assert dict(matplotlib.rcParams) == before


def test_of_several_attackers_the_one_who_got_most_is_drawn(make_audit):
    weak = [replace(r, attack="dlg", ssim=(r.ssim or 0) / 2) for r in sweep()]
    weak = [replace(r, picture=r.picture.replace(".png", "w.png")) for r in weak]
    audit = AuditData.open(make_audit([*weak, *sweep()]))
    assert {r.attack for r in audit.one_attacker().rows} == {"row_space"}
    assert "dlg" in text_of(draw("rdlv", audit.of("dlg", None)))
    with pytest.raises(ValueError, match="row_space"):
        audit.of("cpl", None)


def test_curves_begin_at_the_round_in_which_they_go_on(make_audit):
    rows = [row(ssim=0.9, round=7), row(ssim=0.2, round=0), row(defence=defence_of(10), round=7)]
    figure = draw("ssim", AuditData.open(make_audit(rows)))
    _, line = curve_of(figure, "site-9", UPDATE)
    assert points(line)[0] == (0, 0.9), "round 0 was not attacked under the defence"


def test_a_declared_defence_protects_as_a_replayed_one():
    declared = row(declared="percentile_gaussian:sigma0=10", site="a")
    both = replace(declared, defence="top_k:fraction=0.1")
    assert protection(declared) == "percentile_gaussian:sigma0=10"
    assert protection(both) == "percentile_gaussian:sigma0=10 + top_k:fraction=0.1"
    assert dose(protection(declared)).strength == 10  # pyright: ignore[reportOptionalMemberAccess]


def test_rows_of_one_image_are_one_piece_of_evidence():
    rows = [row(image=k, seed=s, ssim=0.5 + 0.1 * k) for k in range(4) for s in range(50)]
    found = estimate(rows, "ssim")
    assert found is not None
    assert found.mean == pytest.approx(0.65)
    assert found.upper95 - found.lower95 > 0.1, "200 rows, but 4 images"


def test_an_empty_audit_is_refused_in_one_line(tmp_path):
    with pytest.raises(ValueError, match=r"no results\.csv") as error:
        AuditData.open(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", ["{", '{"a": 1}', '[{"defence": "none"}]'])
def test_a_damaged_utility_json_is_refused_by_name(content, make_audit):
    out = make_audit([row()])
    (out / "utility.json").write_text(content)
    with pytest.raises(ValueError, match=r"utility\.json is damaged"):
        AuditData.open(out)


def test_of_too_many_pictures_a_map_shows_some_of_all_and_says_so(make_audit, monkeypatch):
    monkeypatch.setattr(embeddings, "_MOST", 20)
    rows = sweep(scopes=("update",), images=2, seeds=1)
    figure = draw("embeddings", AuditData.open(make_audit(rows)), embed=_pixels)
    written = text_of(figure)
    assert f"20 of {len(rows)} reconstructions, drawn at random. 4 images of 2 sites" in written
    # 0, 1, 10, 25 are four colours, each with its number.
    (bar,) = [a for a in figure.axes if a.get_ylabel() == "strength of the defence"]
    assert [t.get_text() for t in bar.get_yticklabels()] == ["0", "1", "10", "25"]


def _pixels(images):
    return images.flatten(1)


def test_a_figure_of_iip_says_among_how_many_images_it_looked(make_audit):
    rows = [replace(r, neighbours="3 - 7", gallery=412, class_mates=200) for r in sweep()]
    written = text_of(draw("iip", AuditData.open(make_audit(rows))))
    assert "share of the site's training images that are among the 3 nearest of 412" in written


def test_a_picture_chosen_among_seeds_is_said_to_be_the_best(make_audit):
    audit = AuditData.open(make_audit(sweep()))
    assert "the best of its seeds and rounds" in text_of(draw("noise", audit))
    assert "(the best of its seeds)" in text_of(draw("rounds", audit))
    alone = audit.where(lambda r: r.seed == 0 and r.round == 0)
    assert "the best of" not in text_of(draw("noise", alone))


def test_the_table_has_an_interval_for_the_attack_success_rate(make_audit):
    out = make_audit([row(image=k, ssim=s) for k, s in enumerate((0.95, 0.95, 0.3, 0.2))])
    table(AuditData.open(out), out / "figures")
    assert "| 50% [15%, 85%] |" in (out / "figures" / "table.md").read_text()
