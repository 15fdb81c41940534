"""Tests of medleak.custom.data.pixels.tiff; every mode is in tests/custom/contracts."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from medleak.custom.data.pixels.samples import UnreadableError
from medleak.custom.data.pixels.tiff import read_tiff

VALUES = np.arange(60, dtype=np.uint16).reshape(6, 10) * 1000


def test_samples_are_as_stored_with_what_they_mean(tmp_path):
    path = tmp_path / "x.tif"
    tags = [(274, 3, 1, 6, True)]
    tifffile.imwrite(path, VALUES, photometric="miniswhite", extratags=tags, metadata=None)
    samples = read_tiff(path)
    np.testing.assert_array_equal(samples.values, VALUES)
    assert (samples.bits, samples.inverted, samples.orientation) == (16, True, 6)
    assert (samples.size, samples.upright_size) == ((10, 6), (6, 10))


def test_planes_are_read_as_pixels(tmp_path):
    colour = np.random.default_rng(0).integers(0, 256, (3, 6, 10), dtype=np.uint8)
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, colour, photometric="rgb", planarconfig="separate", metadata=None)
    np.testing.assert_array_equal(read_tiff(path).values, np.moveaxis(colour, 0, -1))


def test_the_stack_behind_imagejs_one_page_is_counted(tmp_path):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, np.stack([VALUES] * 4), imagej=True, metadata={"axes": "ZYX"})
    with pytest.raises(UnreadableError, match="holds 4 frames"):
        read_tiff(path)


@pytest.mark.parametrize("cut", [1, 40, 100])
def test_a_strip_that_ends_beyond_the_file_is_refused(tmp_path, cut):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, VALUES, photometric="minisblack", metadata=None)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - cut])
    with pytest.raises(UnreadableError, match="truncated"):
        read_tiff(path)


def test_more_pixels_than_pillows_limit_are_refused_before_decoding(tmp_path, monkeypatch):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, VALUES, metadata=None)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 59)
    monkeypatch.setattr(tifffile.TiffPage, "asarray", None)
    with pytest.raises(UnreadableError, match="more than 59 pixels"):
        read_tiff(path)


def test_channels_of_different_depth_and_unknown_kinds_are_refused(tmp_path):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, VALUES.astype(np.complex64), metadata=None)
    with pytest.raises(UnreadableError, match="values of the kind"):
        read_tiff(path)


@pytest.mark.parametrize(
    ("compression", "wrong"), [("group3", 0), ("group4", 255), ("tiff_ccitt", 0)]
)
def test_a_damaged_line_of_fax_is_refused_and_not_read_as_something_else(
    tmp_path, capfd, compression, wrong
):
    path = tmp_path / "x.tif"
    noise = np.random.default_rng(0).random((64, 64)) < 0.5
    Image.fromarray(noise).save(path, compression=compression)
    assert np.array_equal(read_tiff(path).values == 1, noise)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        middle = page.dataoffsets[0] + page.databytecounts[0] // 2
    data[middle : middle + 40] = bytes([wrong]) * 40
    path.write_bytes(data)
    with pytest.raises(UnreadableError, match="is damaged"):
        read_tiff(path)
    assert capfd.readouterr().err == ""
