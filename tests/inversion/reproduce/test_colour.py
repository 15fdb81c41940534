"""Tests of medleak.inversion.reproduce.colour."""

import numpy as np
import pytest
from PIL import Image

from medleak.custom.data.datalist import DataError, Item
from medleak.inversion.reproduce.colour import colour_statistics


@pytest.fixture
def items(tmp_path):
    """Seventy colour pictures, more than are loaded at a time."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (70, 8, 8, 3), np.uint8)
    pixels[:, :, :, 1] //= 2
    pixels[:, :, :, 2] = 200
    for k, picture in enumerate(pixels):
        Image.fromarray(picture).save(tmp_path / f"{k:02}.png")
    return pixels / 255, [Item(str(tmp_path / f"{k:02}.png"), 0, str(k)) for k in range(70)]


def test_mean_and_deviation_are_numpys_over_all_pixels(items):
    pixels, listed = items
    found = colour_statistics(listed, (8, 8))
    assert found.mean == pytest.approx(pixels.mean((0, 1, 2)), abs=1e-6)
    assert found.std == pytest.approx(pixels.std((0, 1, 2)), abs=1e-6)
    assert (found.n, found.spatial_size) == (70, (8, 8))


def test_a_gray_set_has_one_channel_or_three_equal_ones(tmp_path):
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "a.png")
    item = Item(str(tmp_path / "a.png"), 0, "a")
    gray, colour = colour_statistics([item], (8, 8), 1), colour_statistics([item], (8, 8), 3)
    assert gray.mean == pytest.approx([31.5 / 255])
    assert colour.mean == pytest.approx(gray.mean * 3)
    assert colour.std == pytest.approx(gray.std * 3)


def test_no_images_and_damaged_ones_are_refused(items, tmp_path):
    with pytest.raises(ValueError, match="at least one image"):
        colour_statistics([])
    (tmp_path / "00.png").write_bytes(b"junk")
    with pytest.raises(DataError):
        colour_statistics(items[1], (8, 8))
