"""Tests of medleak.custom.data.pixels.reading: images, and masks that lie as their images do."""

from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from tests.custom.contracts.modes import png_of_any_size, turned

from medleak.custom.data.data_error import DataError
from medleak.custom.data.masks import load_masks, read_masked
from medleak.custom.data.pixels.reading import read_image, read_mask
from medleak.custom.data.transforms import decode, load_images


def exif(orientation):
    tag = Image.Exif()
    tag[0x112] = orientation
    return tag


def corner(height=8, width=12, value=250, dtype: Any = np.uint8):
    """Bright in the upper left as it is stored."""
    pixels = np.zeros((height, width), dtype)
    pixels[: height // 2, : width // 2] = value
    return pixels


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("scale", [1, 257])
def test_images_of_8_and_of_16_bits_are_turned_alike(tmp_path, orientation, scale):
    pixels = corner().astype(np.uint8 if scale == 1 else np.uint16) * scale
    Image.fromarray(pixels).save(tmp_path / "x.png", exif=exif(orientation))
    np.testing.assert_array_equal(read_image(tmp_path / "x.png"), turned(corner(), orientation))


def test_a_window_turns_an_image_too(tmp_path):
    Image.fromarray(corner(value=4000, dtype=np.uint16)).save(tmp_path / "x.png", exif=exif(3))
    shown = read_image(tmp_path / "x.png", (0, 4000))
    assert (shown[7, 11], shown[0, 0]) == (255, 0)


@pytest.mark.parametrize(("kind", "channels"), [(0, 1), (4, 1), (2, 3), (6, 3)])
def test_12_bits_in_16_are_refused_in_gray_and_colour_and_shown_by_a_window(
    tmp_path, kind, channels
):
    values = np.repeat(np.linspace(0, 4095, 96).reshape(8, 12, 1), channels, 2).astype(np.uint16)
    stored = values
    if kind in (4, 6):
        stored = np.dstack([values, np.full((8, 12), 65535, np.uint16)])
    (tmp_path / "x.png").write_bytes(png_of_any_size(stored, kind))
    with pytest.raises(DataError, match="--window"):
        decode(tmp_path / "x.png", (8, 12), 1)
    shown = read_image(tmp_path / "x.png", (0, 4095)).reshape(8, 12, channels)
    np.testing.assert_array_equal(shown, np.rint(values / 4095 * 255))


@pytest.mark.parametrize("scale", [1, 257])
def test_white_is_zero_at_either_depth(tmp_path, scale):
    pixels = corner().astype(np.uint8 if scale == 1 else np.uint16) * scale
    tifffile.imwrite(tmp_path / "x.tif", pixels, photometric="miniswhite", metadata=None)
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif"), 255 - corner())


def pair(root, image_turn, mask_turn, *, height=8, width=12, mask=None):
    """An image and the mask of its bright corner, drawn on the pixels as they are stored."""
    for folder in ("images", "masks"):
        (root / folder).mkdir()
    pixels = corner(height, width)
    Image.fromarray(pixels).save(root / "images/x.png", exif=exif(image_turn))
    drawn = np.where(pixels > 0, 1, 0).astype(np.uint8) if mask is None else mask
    Image.fromarray(drawn).save(root / "masks/x.png", exif=exif(mask_turn))
    return root / "masks/x.png", root / "images/x.png"


def overlap(root, size):
    items = read_masked(root)[0]
    image = load_images(items, spatial_size=size, data_root=root)[0][0, 0] > 0.5
    mask = load_masks(items, spatial_size=size, data_root=root)[0, 0] > 0.5
    return float((image & mask).sum() / (image | mask).sum())


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_mask_with_its_images_orientation_is_turned_with_it(tmp_path, turn):
    pair(tmp_path, turn, turn)
    assert overlap(tmp_path, (8, 12)) == 1
    assert overlap(tmp_path, (4, 4)) > 0.9


@pytest.mark.parametrize("turn", [5, 6, 7, 8])
def test_a_mask_of_the_stored_size_is_turned_as_its_image(tmp_path, turn):
    pair(tmp_path, turn, 1)
    assert overlap(tmp_path, (12, 8)) == 1


def test_a_mask_of_the_turned_size_lies_already(tmp_path):
    drawn = turned(np.where(corner() > 0, 1, 0).astype(np.uint8), 6)
    pair(tmp_path, 6, 1, mask=drawn)
    assert overlap(tmp_path, (12, 8)) == 1


@pytest.mark.parametrize(
    ("image_turn", "mask_turn", "height", "width"),
    [(6, 1, 8, 8), (1, 6, 8, 8), (3, 1, 8, 12), (2, 1, 8, 12), (1, 4, 8, 12), (5, 7, 8, 12)],
)
def test_where_the_size_cannot_tell_the_pair_is_refused_with_what_was_found(
    tmp_path, image_turn, mask_turn, height, width
):
    mask, image = pair(tmp_path, image_turn, mask_turn, height=height, width=width)
    with pytest.raises(DataError) as caught:
        read_mask(mask, image)
    said = str(caught.value)
    assert f"{width} x {height} px in orientation {mask_turn}" in said
    assert f"in orientation {image_turn}" in said
    assert "Export both without an orientation" in said


def test_an_empty_mask_lies_as_it_likes(tmp_path):
    mask, image = pair(tmp_path, 6, 1, height=8, width=8, mask=np.zeros((8, 8), np.uint8))
    assert not read_mask(mask, image).any()


def test_a_mask_of_16_bits_and_one_of_blue_are_seen(tmp_path):
    Image.fromarray(corner()).save(tmp_path / "image.png")
    Image.fromarray(corner(value=1, dtype=np.uint16)).save(tmp_path / "deep.png")
    colour = np.zeros((8, 12, 3), np.uint8)
    colour[..., 2] = corner(value=1)
    Image.fromarray(colour).save(tmp_path / "blue.png")
    for name in ("deep.png", "blue.png"):
        found = read_mask(tmp_path / name, tmp_path / "image.png")
        np.testing.assert_array_equal(found, corner() > 0)


def test_what_a_damaged_file_raises_is_one_line_without_its_words(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", corner(), description="Doe, Jane", metadata=None)
    content = bytearray((tmp_path / "x.tif").read_bytes())
    for at in range(8, 60, 5):
        content[at] ^= 0xFF
    (tmp_path / "x.tif").write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"^Image '.*x\.tif' ") as caught:
        read_image(tmp_path / "x.tif")
    assert "Doe" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_window_is_the_callers_error(tmp_path):
    Image.fromarray(corner()).save(tmp_path / "x.png")
    with pytest.raises(ValueError, match="is empty"):
        read_image(tmp_path / "x.png", (9, 1))
