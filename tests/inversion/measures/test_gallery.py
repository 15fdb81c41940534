"""Tests of medleak.inversion.measures.gallery."""

import numpy as np
import pytest
import torch
from PIL import Image

from medleak.custom.data.datalist import Item, save_datalist
from medleak.custom.data.transforms import load_images
from medleak.custom.record import InputSpec
from medleak.inversion.measures.gallery import build_gallery, thumbnails_of

SPEC = InputSpec(spatial_size=(16, 16), channels=1)


@pytest.fixture
def lists(tmp_path):
    """Three clients, 3 training and 2 validation images each; the last of all is shared."""
    rng = np.random.default_rng(0)
    found = {}
    shared = rng.integers(0, 256, (16, 16), np.uint8)
    for site in ("site-1", "site-2", "site-3"):
        items = []
        for k in range(5):
            path = tmp_path / f"{site}_{k}.png"
            pixels = shared if k == 4 else rng.integers(0, 256, (16, 16), np.uint8)
            Image.fromarray(pixels).save(path)
            items.append(Item(str(path), k % 2, f"p{k}"))
        found[site] = tmp_path / f"{site}.json"
        save_datalist(found[site], {"training": items[:3], "validation": items[3:]})
    return found


def pixels(items):
    return load_images(items, spatial_size=(16, 16), channels=1)[0]


def test_all_training_and_validation_images_of_all_clients_are_in_it_once(lists):
    gallery = build_gallery(lists, SPEC)
    assert len(gallery) == 3 * 4 + 1
    assert gallery.training == {"site-1": [0, 1, 2], "site-2": [5, 6, 7], "site-3": [9, 10, 11]}
    assert gallery.owners[4] == frozenset(lists)
    assert gallery.labels.tolist()[:5] == [0, 1, 0, 1, 0]
    torch.testing.assert_close(gallery.thumbnails, thumbnails_of(pixels(gallery.items)))
    assert gallery.features is None


def test_a_class_mean_holds_no_image_of_the_client_not_even_a_shared_one(lists):
    gallery = build_gallery(lists, SPEC)
    for label in (0, 1):
        others = [
            item
            for item, owners in zip(gallery.items, gallery.owners, strict=True)
            if item.label == label and "site-2" not in owners
        ]
        mean = gallery.class_mean(label, without="site-2")
        torch.testing.assert_close(mean, pixels(others).mean(0), atol=1e-6, rtol=0)


def test_there_is_no_class_mean_where_nobody_else_has_the_class(lists):
    gallery = build_gallery({"site-1": lists["site-1"], "site-2": None}, SPEC)
    assert gallery.class_mean(0, without="site-1") is None
    assert gallery.class_mean(7, without="site-1") is None
    assert gallery.class_mean(0, without="site-2") is not None


def test_features_are_of_unit_length_and_in_the_order_of_the_images(lists):
    batches = []

    def embed(images):
        batches.append(len(images))
        return images.flatten(1)[:, :7]

    gallery = build_gallery(lists, SPEC, embed)
    expected = torch.nn.functional.normalize(pixels(gallery.items).flatten(1)[:, :7], dim=1)
    torch.testing.assert_close(gallery.features, expected)
    assert sum(batches) == len(gallery)


def test_a_damaged_image_is_left_out_and_counted(lists, tmp_path):
    (tmp_path / "site-3_1.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    gallery = build_gallery(lists, SPEC)
    assert (len(gallery), gallery.left_out) == (12, 1)
    assert gallery.training["site-1"] == [0, 1, 2]


def test_no_lists_make_an_empty_gallery():
    gallery = build_gallery({"site-1": None}, SPEC)
    assert (len(gallery), gallery.left_out) == (0, 0)
    assert gallery.class_mean(0, without="site-1") is None
