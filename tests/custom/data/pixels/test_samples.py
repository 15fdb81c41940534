"""Tests of medleak.custom.data.pixels.samples."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from medleak.custom.data.pixels.samples import Samples, UnreadableError, upright


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_turns_as_pillow_turns(orientation):
    stored = np.arange(12, dtype=np.uint8).reshape(3, 4)
    image = Image.fromarray(stored)
    image.getexif()[0x112] = orientation
    turned = ImageOps.exif_transpose(image)
    np.testing.assert_array_equal(upright(stored, orientation), np.asarray(turned))
    samples = Samples(values=stored, bits=8, orientation=orientation)
    assert samples.upright_size == turned.size


@pytest.mark.parametrize("orientation", [0, 9, -3])
def test_an_unknown_orientation_leaves_the_image_alone(orientation):
    stored = np.arange(6).reshape(2, 3, 1)
    np.testing.assert_array_equal(upright(stored, orientation), stored)


def test_a_reason_goes_on_with_what_to_do():
    assert str(UnreadableError("is torn")).startswith("is torn: it cannot be trained on. Mend")
    assert str(UnreadableError("is torn", "Sew it.")) == "is torn: Sew it."
