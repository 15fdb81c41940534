"""Tests of medleak.inversion.audit.other_sites."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from tests.inversion.measures.films import films
from tests.inversion.rows import ROW as A_ROW

from medleak.custom.data.datalist import DataError
from medleak.inversion.audit.other_sites import finish
from medleak.inversion.images.pictures import save_png, to_picture
from medleak.inversion.measures import similarity
from medleak.inversion.measures.registration import compare
from medleak.inversion.results.rows import read_rows, write_rows

ROW = dataclasses.replace(A_ROW, truth_image="training[0]", picture="")


@pytest.fixture
def directory(tmp_path):
    """An audit directory: two reconstructions of site-1, one of site-2 and site-3 each."""
    rows = []
    g = torch.Generator().manual_seed(0)
    for site, n in (("site-1", 2), ("site-2", 1), ("site-3", 1)):
        for k in range(n):
            names = {"picture": f"images/{site}_{k}.png", "truth_picture": f"images/t{site}{k}.png"}
            for name in names.values():
                save_png(tmp_path / name, to_picture(torch.rand(1, 16, 16, generator=g)))
            rows.append(dataclasses.replace(ROW, site=site, reconstruction=k, **names))
    write_rows(tmp_path / "results.csv", rows)
    return tmp_path


def read(path):
    return torch.from_numpy(np.asarray(Image.open(path), np.float32) / 255)[None, None]


def test_each_truth_is_compared_with_what_other_sites_updates_gave(directory):
    rows = finish(directory)
    assert rows == read_rows(directory / "results.csv")
    by_site = {site: [r for r in rows if r.site == site] for site in ("site-1", "site-2", "site-3")}
    first = by_site["site-1"][0]
    others = [read(directory / by_site[s][0].picture) for s in ("site-2", "site-3")]
    expected = similarity.ssim(
        read(directory / first.truth_picture).expand(2, -1, -1, -1), torch.cat(others)
    )
    assert first.ssim_other == pytest.approx(expected.mean().item(), abs=1e-5)


def test_of_each_other_site_the_reconstruction_nearest_to_the_truth_counts(directory):
    target = next(r for r in read_rows(directory / "results.csv") if r.site == "site-2")
    assert target.truth_picture is not None
    (directory / "images/site-1_1.png").write_bytes((directory / target.truth_picture).read_bytes())
    found = next(r for r in finish(directory) if r.site == "site-2")
    alone = similarity.ssim(
        read(directory / target.truth_picture), read(directory / "images/site-3_0.png")
    ).item()
    assert found.ssim_other == pytest.approx((1 + alone) / 2, abs=1e-5)


def test_finishing_twice_changes_nothing(directory):
    finish(directory)
    before = (directory / "results.csv").read_bytes()
    finish(directory)
    assert (directory / "results.csv").read_bytes() == before


@pytest.mark.parametrize(
    "change", [{"round": 1}, {"seed": 1}, {"defence": "x"}, {"knowledge": "x"}, {"attack": "x"}]
)
def test_only_the_same_cell_is_compared(directory, change):
    rows = read_rows(directory / "results.csv")
    moved = [dataclasses.replace(r, **change) if r.site == "site-1" else r for r in rows]
    write_rows(directory / "results.csv", moved)
    found = finish(directory)
    assert [r.ssim_other is None for r in found] == [True, True, False, False]


def test_sites_without_truth_serve_as_others_and_get_no_figure(directory):
    rows = read_rows(directory / "results.csv")
    blind = [
        dataclasses.replace(r, truth_image=None, truth_picture=None) if r.site == "site-1" else r
        for r in rows
    ]
    write_rows(directory / "results.csv", blind)
    assert [r.ssim_other is None for r in finish(directory)] == [True, True, False, False]


def test_an_audit_directory_without_results_has_nothing_to_finish(tmp_path):
    assert finish(tmp_path) == []
    assert not (tmp_path / "results.csv").exists()


def test_a_missing_picture_is_named_and_the_table_stays(directory):
    before = (directory / "results.csv").read_bytes()
    (directory / "images/site-2_0.png").unlink()
    with pytest.raises(DataError, match=r"site-2_0\.png"):
        finish(directory)
    assert (directory / "results.csv").read_bytes() == before


def test_results_of_another_version_are_refused(directory):
    (directory / "results.csv").write_text("round,site\n0,site-1\n")
    with pytest.raises(ValueError, match="another version wrote it"):
        finish(directory)


def test_a_truth_that_was_seen_transformed_is_sought_in_other_sites_images_in_the_same_way(
    tmp_path,
):
    truth, others = films(1), films(2, seed=3)
    seen = "images/truth_site-1_0_seen_case.png"
    save_png(tmp_path / "images/truth_site-1_0.png", to_picture(truth[0]))
    save_png(tmp_path / seen, to_picture(truth[0].flip(-1)))
    save_png(tmp_path / "images/a.png", to_picture(truth[0].flip(-1)))
    rows = [
        dataclasses.replace(
            ROW, picture="images/a.png", truth_picture=seen, transformation="flipped left-right"
        )
    ]
    for k, image in enumerate((others[0], truth[0].flip(-2))):  # the second site has it, too
        save_png(tmp_path / f"images/b{k}.png", to_picture(image))
        rows.append(dataclasses.replace(ROW, site=f"site-{k + 2}", picture=f"images/b{k}.png"))
    write_rows(tmp_path / "results.csv", rows)
    alone = compare(read(tmp_path / "images/truth_site-1_0.png")[0], others[0]).ssim
    assert finish(tmp_path)[0].ssim_other == pytest.approx((alone + 1) / 2, abs=0.01)


def test_the_sum_over_sites_has_no_null_of_other_sites_as_it_has_their_images(directory):
    rows = read_rows(directory / "results.csv")
    summed = [dataclasses.replace(r, defence="secure_aggregation:sites=2") for r in rows]
    write_rows(directory / "results.csv", summed)
    assert all(row.ssim_other is None for row in finish(directory))
