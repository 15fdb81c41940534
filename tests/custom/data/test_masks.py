"""Tests of medleak.custom.data.masks."""

import json

import numpy as np
import pytest
from PIL import Image

from medleak.custom.data.datalist import DataError, Item, load_datalist, save_datalist
from medleak.custom.data.masks import load_masks, read_masked


def picture(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(pixels, np.uint8))
    image.save(path, **options)
    return path


@pytest.fixture
def square():
    """A mask [8, 8] whose upper left quarter is the structure."""
    pixels = np.zeros((8, 8), np.uint8)
    pixels[:4, :4] = 1
    return pixels


def one(root, square, suffix=".png", **options):
    picture(root / "images" / "1_0.png", np.full((8, 8), 99))
    picture(root / "masks" / f"1_0{suffix}", square, **options)
    return read_masked(root)[0]


@pytest.mark.parametrize("value", [1, 4, 255])
@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_whatever_is_not_zero_is_the_structure(tmp_path, square, value, suffix):
    items = one(tmp_path, value * square, suffix)
    masks = load_masks(items, spatial_size=(8, 8), data_root=tmp_path)
    assert masks.shape == (1, 1, 8, 8)
    np.testing.assert_array_equal(masks[0, 0].numpy(), square)


def test_the_blurred_edges_of_a_jpeg_are_cut_at_half(tmp_path, square):
    items = one(tmp_path, 255 * square, ".jpg", quality=60)
    masks = load_masks(items, spatial_size=(8, 8), data_root=tmp_path)
    np.testing.assert_array_equal(masks[0, 0].numpy(), square)


def test_a_palette_counts_by_its_indices(tmp_path, square):
    items = one(tmp_path, square)
    image = Image.fromarray(square, "L").convert("P")
    image.putpalette([200, 0, 0, 0, 0, 0])  # the background is coloured, the structure black
    image.putdata(square.ravel().tolist())
    image.save(tmp_path / "masks" / "1_0.png")
    masks = load_masks(items, spatial_size=(8, 8), data_root=tmp_path)
    np.testing.assert_array_equal(masks[0, 0].numpy(), square)


def test_a_resized_mask_is_one_where_at_least_half_is(tmp_path, square):
    items = one(tmp_path, square)
    masks = load_masks(items, spatial_size=(4, 2), data_root=tmp_path)
    np.testing.assert_array_equal(masks[0, 0].numpy(), [[1, 0], [1, 0], [0, 0], [0, 0]])


def test_class_folders_of_images_give_labels_and_masks_in_the_same_folders(tmp_path, square):
    for kind in ("glioma", "notumor"):
        picture(tmp_path / "images" / kind / "7_1.png", np.zeros((8, 8)))
        picture(tmp_path / "masks" / kind / "7_1.png", square)
    items, names = read_masked(tmp_path, ["notumor", "glioma"])
    assert names == ("notumor", "glioma")
    assert items == [
        Item("images/notumor/7_1.png", 0, "7", "masks/notumor/7_1.png"),
        Item("images/glioma/7_1.png", 1, "7", "masks/glioma/7_1.png"),
    ]


def test_masks_survive_a_datalist(tmp_path, square):
    items = one(tmp_path, square)
    save_datalist(tmp_path / "list.json", {"training": items})
    (loaded,) = load_datalist(tmp_path / "list.json")["training"]
    assert loaded.mask == str(tmp_path / "masks" / "1_0.png")


def test_a_label_that_is_a_file_is_the_mask_as_in_the_decathlon(tmp_path):
    path = tmp_path / "l.json"
    path.write_text(json.dumps({"training": [{"image": "i/a.png", "label": "l/a.png"}]}))
    (item,) = load_datalist(path)["training"]
    assert (item.label, item.mask) == (0, str(tmp_path / "l" / "a.png"))


@pytest.mark.parametrize("mask", [3, ["a.png"], "a\0.png"])
def test_a_mask_that_is_no_file_name_is_refused_by_position(tmp_path, mask):
    path = tmp_path / "l.json"
    path.write_text(json.dumps({"training": [{"image": "a.png", "label": 0, "mask": mask}]}))
    with pytest.raises(DataError, match=r"training\[0\].*mask"):
        load_datalist(path)


@pytest.mark.parametrize("missing", ["images", "masks"])
def test_a_folder_without_images_or_masks_is_refused(tmp_path, square, missing):
    one(tmp_path, square)
    (tmp_path / missing).rename(tmp_path / "other")
    with pytest.raises(DataError, match=f"no folder '{missing}'"):
        read_masked(tmp_path)


def test_an_image_without_a_mask_or_with_two_is_refused_by_name(tmp_path, square):
    one(tmp_path, square)
    picture(tmp_path / "images" / "2_0.png", square)
    with pytest.raises(DataError, match=r"'2_0.png'.*has 0 masks"):
        read_masked(tmp_path)
    picture(tmp_path / "masks" / "2_0.png", square)
    picture(tmp_path / "masks" / "2_0.bmp", square)
    with pytest.raises(DataError, match=r"'2_0.png'.*has 2 masks"):
        read_masked(tmp_path)


def test_a_mask_of_another_size_than_its_image_is_refused(tmp_path, square):
    items = one(tmp_path, square[:4])
    with pytest.raises(DataError, match="8 x 4 px, its image 8 x 8"):
        load_masks(items, spatial_size=(8, 8), data_root=tmp_path)


def test_an_item_without_a_mask_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"'a.png' has no mask"):
        load_masks([Item("a.png", 0, "a")], spatial_size=(8, 8))
