"""Tests of medleak.inversion.measures.nulls."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from medleak.custom.data.datalist import DataError, Item, save_datalist
from medleak.custom.data.transforms import load_images
from medleak.custom.record import InputSpec
from medleak.inversion.images.pictures import save_png, to_picture
from medleak.inversion.measures import similarity
from medleak.inversion.measures.gallery import build_gallery
from medleak.inversion.measures.nulls import finish, ssim_of_class_mean, ssim_of_nonmember
from medleak.inversion.results.rows import Row, read_rows, write_rows

SPEC = InputSpec(spatial_size=(24, 24), channels=1)


@pytest.fixture
def lists(tmp_path):
    rng = np.random.default_rng(0)
    found = {}
    for site in ("site-1", "site-2", "site-3"):
        items = []
        for k in range(6):
            coarse = Image.fromarray(rng.integers(0, 256, (5, 5), np.uint8))
            path = tmp_path / f"{site}_{k}.png"
            coarse.resize((24, 24), Image.Resampling.BICUBIC).save(path)
            items.append(Item(str(path), k % 2, f"p{k}"))
        found[site] = tmp_path / f"{site}.json"
        save_datalist(found[site], {"training": items[:4], "validation": items[4:]})
    return found


def pixels(items):
    return load_images(items, spatial_size=(24, 24), channels=1)[0]


def truth(gallery, site):
    items = [gallery.items[place] for place in gallery.training[site]]
    return pixels(items), torch.tensor([item.label for item in items])


def test_the_class_mean_is_compared_with_the_images_of_its_class(lists):
    gallery = build_gallery(lists, SPEC)
    images, labels = truth(gallery, "site-1")
    found = ssim_of_class_mean(gallery, "site-1", images, labels)
    for image, label, value in zip(images, labels, found, strict=True):
        mean = gallery.class_mean(int(label), without="site-1")
        assert mean is not None
        assert value == pytest.approx(similarity.ssim(image[None], mean[None]).item())


def test_without_other_clients_there_is_no_class_mean_to_compare_with(lists):
    gallery = build_gallery({"site-1": lists["site-1"]}, SPEC)
    images, labels = truth(gallery, "site-1")
    assert ssim_of_class_mean(gallery, "site-1", images, labels).isnan().all()


def test_the_nearest_non_member_is_never_a_training_image_of_the_client(lists):
    gallery = build_gallery(lists, SPEC)
    images, _ = truth(gallery, "site-1")
    found = ssim_of_nonmember(gallery, "site-1", images, SPEC)
    others = [i for k, i in enumerate(gallery.items) if k not in gallery.training["site-1"]]
    expected = similarity.pairwise_ssim(images, pixels(others)).max(1).values
    torch.testing.assert_close(found, expected)
    assert (found < 0.9).all()


def test_candidates_by_thumbnail_bound_the_search_from_below(lists):
    gallery = build_gallery(lists, SPEC)
    images, _ = truth(gallery, "site-1")
    few = ssim_of_nonmember(gallery, "site-1", images, SPEC, nearest=2)
    assert (few <= ssim_of_nonmember(gallery, "site-1", images, SPEC, nearest=99)).all()
    assert few.isfinite().all()


def test_a_lone_clients_validation_images_are_its_only_non_members(lists):
    gallery = build_gallery({"site-1": lists["site-1"]}, SPEC)
    images, _ = truth(gallery, "site-1")
    held = pixels([gallery.items[4], gallery.items[5]])
    expected = similarity.pairwise_ssim(images, held).max(1).values
    torch.testing.assert_close(ssim_of_nonmember(gallery, "site-1", images, SPEC), expected)


ROW = Row(
    round=0,
    site="site-1",
    attack="dlg",
    defence="none",
    declared="none",
    knowledge="all",
    seed=0,
    reconstruction=0,
    truth_image="training[0]",
    seconds=1.0,
    iterations=1,
    attempts=1,
    stuck=False,
    losses="",
    picture="",
)


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
