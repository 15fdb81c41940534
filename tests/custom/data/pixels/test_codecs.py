"""Tests of medleak.custom.data.pixels.codecs: a decoder that is missing is named."""

import sys

import numpy as np
import pytest
from tests.custom.contracts.modes import png

from medleak.custom.data.data_error import DataError
from medleak.custom.data.pixels.codecs import codecs
from medleak.custom.data.pixels.reading import read_image
from medleak.custom.data.pixels.samples import UnreadableError


@pytest.fixture
def without(monkeypatch):
    monkeypatch.setitem(sys.modules, "imagecodecs", None)


def test_the_package_is_named_with_what_it_is_for(without):
    with pytest.raises(UnreadableError, match=r"is LZW, and imagecodecs.*pip install imagecodecs"):
        codecs("LZW")


def test_16_bit_colour_png_says_what_is_missing(tmp_path, without):
    (tmp_path / "x.png").write_bytes(png(np.zeros((6, 10, 3), np.uint16), 16, 2))
    with pytest.raises(DataError, match=r"x\.png' is 16-bit colour PNG.*imagecodecs"):
        read_image(tmp_path / "x.png")


def test_what_is_installed_is_given():
    assert codecs("anything").png_decode
