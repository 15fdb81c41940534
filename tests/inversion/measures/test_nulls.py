"""Tests of medleak.inversion.measures.nulls."""

import numpy as np
import pytest
import torch
from PIL import Image

from medleak.custom.data.datalist import Item, load_datalist, save_datalist
from medleak.custom.data.transforms import load_images
from medleak.custom.record import InputSpec
from medleak.inversion.measures import similarity
from medleak.inversion.measures.gallery import build_gallery
from medleak.inversion.measures.nulls import (
    searched,
    ssim_of_class_mean,
    ssim_of_coarse,
    ssim_of_nonmember,
)
from medleak.inversion.measures.registration import compare

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


def test_under_augmentation_every_null_goes_through_the_same_search(lists):
    gallery = build_gallery(lists, SPEC)
    images, labels = truth(gallery, "site-1")
    prior = torch.full((1, 1, 24, 24), 0.5)
    found = searched(gallery, "site-1", images[0], int(labels[0]), prior, SPEC)
    mean = gallery.class_mean(int(labels[0]), without="site-1")
    assert mean is not None
    assert found["ssim_prior"] == compare(images[0], prior[0]).ssim
    assert found["ssim_class_mean"] == compare(images[0], mean).ssim
    others = set(range(len(gallery))) - set(gallery.training["site-1"])
    best = [compare(images[0], other).ssim for other in pixels([gallery.items[k] for k in others])]
    assert found["ssim_nonmember"] in best
    plain = ssim_of_nonmember(gallery, "site-1", images[:1], SPEC)
    assert found["ssim_nonmember"] >= float(plain) - 1e-6


def test_a_flipped_copy_that_another_client_holds_is_found_as_a_null(lists, tmp_path):
    image = Image.open(load_datalist(lists["site-1"])["training"][0].image)
    image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "flipped.png")
    save_datalist(tmp_path / "x.json", {"training": [Item(str(tmp_path / "flipped.png"), 0, "x")]})
    gallery = build_gallery({**lists, "site-9": tmp_path / "x.json"}, SPEC)
    images, labels = truth(gallery, "site-1")
    prior = torch.full((1, 1, 24, 24), 0.5)
    found = searched(gallery, "site-1", images[0], int(labels[0]), prior, SPEC)
    assert found["ssim_nonmember"] > 0.99


def test_without_other_clients_the_prior_alone_is_searched(lists):
    save_datalist(lists["site-1"], {**load_datalist(lists["site-1"]), "validation": []})
    gallery = build_gallery({"site-1": lists["site-1"]}, SPEC)
    images, labels = truth(gallery, "site-1")
    prior = torch.full((1, 1, 24, 24), 0.5)
    assert set(searched(gallery, "site-1", images[0], int(labels[0]), prior, SPEC)) == {
        "ssim_prior"
    }


def test_a_coarse_copy_is_more_like_its_image_the_finer_that_shows():
    images = torch.rand(3, 1, 24, 24, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.avg_pool2d(images, 9, 1, 4)
    assert bool((ssim_of_coarse(smooth) > ssim_of_coarse(images)).all())
    assert ssim_of_coarse(images).shape == (3,)
