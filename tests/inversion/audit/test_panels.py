"""Tests of medleak.inversion.audit.panels."""

from dataclasses import replace

import pytest
import torch
from PIL import Image

from medleak.custom.data.datalist import DataError
from medleak.inversion.audit.panels import (
    SHOWN,
    keep_iterations,
    listed_picture,
    save_case,
    side_by_side,
)
from medleak.inversion.images.pictures import TILE_PX, save_png, to_picture
from medleak.inversion.images.truth import Truth
from medleak.inversion.reconstruction import Progress, Reconstruction
from medleak.inversion.results.case import Case
from medleak.inversion.results.rows import Row

PRIOR, BLANK = 128, 255


def flat(path, gray):
    save_png(path, to_picture(torch.full((1, 64, 64), gray / 255)))


def audit_of(folder, values, truths=True):
    """An audit directory with flat pictures: reconstruction k is gray values[k], its truth k."""
    flat(folder / "images" / "prior.png", PRIOR)
    rows = []
    for k, value in enumerate(values):
        row = Row(
            round=2,
            site="site-9",
            attack="row_space",
            defence="none",
            declared="none",
            knowledge="all",
            seed=0,
            reconstruction=k,
            seconds=1,
            iterations=1,
            attempts=1,
            stuck=False,
            losses="",
            picture=f"images/{k}.png",
        )
        flat(folder / row.picture, value)
        if truths:
            flat(folder / f"images/truth_{k}.png", k)
            named = {"truth_image": f"a/{k}.png", "truth_picture": f"images/truth_{k}.png"}
            row = replace(row, ssim=value / 255, ssim_prior=0.4, rdlv=0.1, **named)
        rows.append(row)
    return folder, rows


def last_row(picture, tiles):
    """The gray values in the middle of the tiles of a panel's last row, left to right."""
    y = picture.height - 16 - 24 - TILE_PX // 2
    gray = picture.convert("L")
    return [gray.getpixel((16 + k * (TILE_PX + 12) + TILE_PX // 2, y)) for k in range(tiles)]


def test_a_panel_is_original_prior_reconstruction(tmp_path):
    picture = side_by_side({"reconstruction": audit_of(tmp_path, [200])})
    assert last_row(picture, 3) == [0, PRIOR, 200]


def test_without_truth_it_is_prior_and_reconstruction(tmp_path):
    picture = side_by_side({"reconstruction": audit_of(tmp_path, [200], truths=False)})
    assert last_row(picture, 2) == [PRIOR, 200]


def test_audits_stand_side_by_side_where_they_are_of_one_image(tmp_path):
    clean = audit_of(tmp_path / "clean", [220, 200])
    folder, rows = audit_of(tmp_path / "dp", [70, 90])
    both = {"reconstruction": clean, "reconstruction under DP": (folder, rows[::-1])}
    assert last_row(side_by_side(both), 4) == [1, PRIOR, 200, 90]
    missing = {**both, "reconstruction under DP": (folder, rows[:1])}
    assert last_row(side_by_side(missing), 4) == [1, PRIOR, 200, BLANK]


def test_of_many_images_the_most_similar_are_shown(tmp_path):
    few = side_by_side({"reconstruction": audit_of(tmp_path / "a", list(range(100, 100 + SHOWN)))})
    values = list(range(100, 120))
    many = side_by_side({"reconstruction": audit_of(tmp_path / "b", values)})
    # One more line of heading says how many there are.
    assert 0 <= many.height - few.height < 40
    assert last_row(many, 3) == [20 - SHOWN, PRIOR, values[20 - SHOWN]]


def test_nothing_to_show_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no case has been attacked"):
        side_by_side({"reconstruction": (tmp_path, [])})


def test_a_missing_picture_is_refused_by_name(tmp_path):
    folder, rows = audit_of(tmp_path, [200])
    (folder / rows[0].picture).unlink()
    with pytest.raises(DataError, match=r"0\.png"):
        side_by_side({"reconstruction": (folder, rows)})


CASE = Case(site="site-9", round=0, attack="a", knowledge="all", defence="none", seed=0)


def follow(out, n, total, images=True):
    told = []
    watch = keep_iterations(out, CASE, n, told.append)
    for iteration in range(1, total + 1):
        picture = torch.rand(1, 1, 8, 8) if images else None
        watch(Progress(iteration=iteration, total=total, loss=0.5, seconds=0.0, images=picture))
    assert len(told) == total
    return sorted(int(p.stem.rpartition("_it")[2]) for p in out.rglob("*_it*.png"))


def test_about_as_many_as_asked_are_kept_evenly_and_the_first_is_among_them(tmp_path):
    assert follow(tmp_path, 4, 20) == [1, 6, 11, 16]


def test_an_attack_that_shows_no_images_leaves_none(tmp_path):
    assert follow(tmp_path, 4, 8, images=False) == []


def test_a_truth_is_kept_as_it_is_listed_and_as_the_network_saw_it(tmp_path):
    flat(tmp_path / "images" / "prior.png", PRIOR)
    _, (row,) = audit_of(tmp_path, [200])
    case = row.case
    seen = f"images/truth_site-9_0_seen_{case.name}.png"
    row = replace(row, truth_picture=seen, transformation="flipped left-right")
    images = torch.full((1, 1, 64, 64), 0.8)
    found = Reconstruction(
        images=images, labels=None, losses={}, history=torch.zeros(1), iterations=1, seconds=1.0
    )
    truth = Truth(torch.full((1, 1, 64, 64), 0.2), torch.zeros(1), ("training[0]",))
    turned = {seen: torch.full((1, 64, 64), 0.6)}
    save_case(tmp_path, case, [row], found, truth, turned.get)
    assert listed_picture(seen) == ("images/truth_site-9_0.png", 0)
    with Image.open(tmp_path / "images/truth_site-9_0.png") as listed:
        assert listed.getpixel((0, 0)) == 51
    with Image.open(tmp_path / f"images/{case.name}.png") as panel:
        assert last_row(panel, 3) == [153, PRIOR, 204]
