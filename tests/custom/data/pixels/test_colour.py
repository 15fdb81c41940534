"""Tests of medleak.custom.data.pixels.colour, against Pillow and by hand."""

import numpy as np
import pytest
from PIL import Image, ImageCms

from medleak.custom.data.pixels.colour import from_cielab, from_cmyk, from_palette, from_ycbcr

PIXELS = np.random.default_rng(0).integers(0, 256, (16, 16, 4), dtype=np.uint8)


def test_ycbcr_agrees_with_pillow():
    right = np.asarray(Image.fromarray(PIXELS[..., :3], "YCbCr").convert("RGB")).astype(int)
    assert np.abs(from_ycbcr(PIXELS[..., :3], 8) - right).max() <= 1


def test_ycbcr_of_more_bits_is_the_same_colour():
    deep = PIXELS[..., :3].astype(np.uint16) * 256
    shallow = from_ycbcr(PIXELS[..., :3], 8).astype(int)
    assert np.abs(from_ycbcr(deep, 16) // 256 - shallow).max() <= 1


def test_cmyk_agrees_with_pillow():
    right = np.asarray(Image.fromarray(PIXELS, "CMYK").convert("RGB")).astype(int)
    assert np.abs(from_cmyk(PIXELS, 8) - right).max() <= 1
    assert from_cmyk(np.array([[[0, 0, 0, 65535]]], np.uint16), 16).tolist() == [[[0, 0, 0]]]


def test_cielab_agrees_with_little_cms():
    colours = PIXELS[..., :3] // 2 + 64  # within the gamut, whose edge is clipped
    profiles = [ImageCms.createProfile(space) for space in ("sRGB", "LAB")]
    there = ImageCms.buildTransform(profiles[0], profiles[1], "RGB", "LAB")
    lab = ImageCms.applyTransform(Image.fromarray(colours), there)
    assert lab is not None
    back = from_cielab(np.asarray(lab)).astype(int)
    assert np.abs(back - colours).mean() < 1  # eight bits of a and b are coarse
    assert np.abs(back - colours).max() <= 4


@pytest.mark.parametrize("scale", [1, 257])
def test_a_palette_of_8_or_of_16_bits_gives_the_same_colours(scale):
    table = np.array([[0, 10, 255], [255, 0, 128]], np.uint16) * scale
    indices = np.array([[0, 1, 9]])
    assert from_palette(indices, table).tolist() == [[[0, 10, 255], [255, 0, 128], [255, 0, 128]]]
