"""Tests of medleak.custom.data.images."""

import os
import re

import numpy as np
import pytest
from PIL import Image

from medleak.custom.data.images import save_image, windowed


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_a_saved_image_holds_its_pixels_and_no_other_chunk(tmp_path, shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    save_image(tmp_path / "new" / "x.png", pixels)
    content = (tmp_path / "new" / "x.png").read_bytes()
    assert not re.search(rb"tEXt|iTXt|zTXt|eXIf|tIME|pHYs|iCCP", content)
    with Image.open(tmp_path / "new" / "x.png") as image:
        assert not image.info
        np.testing.assert_array_equal(np.asarray(image), pixels)
    assert os.listdir(tmp_path / "new") == ["x.png"]


def test_an_image_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    with pytest.raises(TypeError):
        save_image(tmp_path / "x.png", np.zeros((2, 2, 5), np.uint8))
    assert os.listdir(tmp_path) == []


def test_a_window_maps_black_to_0_white_to_255_and_clips_outside():
    values = np.array([-100, -50, 0, 50, 100], np.int16)
    assert windowed(values, -50, 50).tolist() == [0, 0, 128, 255, 255]
    assert windowed(np.array([0, 65535], np.uint16), 0, 65535).tolist() == [0, 255]


@pytest.mark.parametrize(("low", "high"), [(1, 1), (2, 1), (0, np.inf), (np.nan, 1)])
def test_an_empty_window_is_refused(low, high):
    with pytest.raises(ValueError, match="is empty"):
        windowed(np.zeros(3), low, high)
