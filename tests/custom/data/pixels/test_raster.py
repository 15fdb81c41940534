"""Tests of medleak.custom.data.pixels.raster; every mode is in tests/custom/contracts."""

from typing import Any

import numpy as np
from PIL import Image
from tests.custom.contracts.modes import png

from medleak.custom.data.pixels.raster import read_raster


def read(path):
    with Image.open(path) as image:
        image.load()
        return read_raster(image, path)


def test_16_bit_colour_keeps_its_lower_half(tmp_path):
    values = np.arange(6 * 10 * 3, dtype=np.uint16).reshape(6, 10, 3)
    (tmp_path / "x.png").write_bytes(png(values, 16, 2))
    samples = read(tmp_path / "x.png")
    assert samples.bits == 16
    np.testing.assert_array_equal(samples.values, values)


def test_the_transparent_shade_of_few_bits_is_on_the_scale_of_its_pixels(tmp_path):
    values = np.zeros((6, 10, 1), np.uint8)
    values[0, 0] = 3
    from tests.custom.contracts.modes import chunk

    (tmp_path / "x.png").write_bytes(png(values, 2, 0, chunk(b"tRNS", b"\0\3")))
    alpha = read(tmp_path / "x.png").alpha
    assert alpha is not None
    assert alpha[0, 0] == 0
    assert alpha.sum() == 59


def test_damaged_exif_is_no_orientation(tmp_path):
    image = Image.new("L", (3, 2))
    image.save(tmp_path / "x.png", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")
    assert read(tmp_path / "x.png").orientation == 1


def test_compression_with_losses_is_known(tmp_path):
    kinds: list[tuple[str, dict[str, Any], bool]] = [
        ("x.jpg", {}, True),
        ("x.webp", {}, True),
        ("y.webp", {"lossless": True}, False),
        ("x.png", {}, False),
    ]
    for name, options, lossy in kinds:
        Image.new("RGB", (8, 8)).save(tmp_path / name, **options)
        assert read(tmp_path / name).lossy is lossy
