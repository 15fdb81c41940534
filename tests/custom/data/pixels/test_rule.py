"""Tests of medleak.custom.data.pixels.rule; every mode is in tests/custom/contracts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medleak.custom.data.pixels.rule import full_range, shown, structure
from medleak.custom.data.pixels.samples import Samples, UnreadableError

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def test_eight_bits_are_shown_as_they_are():
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(shown(Samples(values=values, bits=8)), values)


@pytest.mark.parametrize("colours", [None, 3])
def test_12_bits_in_16_are_refused_with_the_option_to_give_whatever_the_layout(colours):
    values = RAMP if colours is None else np.dstack([RAMP] * colours)
    with pytest.raises(UnreadableError, match=r"values 0 to 4095.*--window BLACK:WHITE"):
        shown(Samples(values=values, bits=16))
    picture = shown(Samples(values=values, bits=16), (0, 4095))
    np.testing.assert_array_equal(picture, np.rint(values / 4095 * 255))


def test_a_burned_in_label_of_full_white_does_not_pass_for_the_range():
    values = RAMP.copy()
    assert not full_range(values, 16)
    values[0, :10] = 65535
    assert not full_range(values, 16)
    assert full_range(RAMP * 16, 16)
    assert full_range(np.full((4, 4), 40000, np.uint16), 16)


@pytest.mark.parametrize("bits", [1, 4, 10, 12, 14])
def test_bits_that_the_file_states_are_the_range(bits):
    values = np.array([[0, 2**bits - 1]], np.uint16)
    assert shown(Samples(values=values, bits=bits)).tolist() == [[0, 255]]


@given(st.integers(-5000, 5000), st.integers(1, 5000), st.booleans())
def test_a_window_maps_its_ends_to_black_and_white_of_the_polarity(low, width, inverted):
    values = np.array([[low - 7, low, low + width, low + width + 7]], np.int32)
    picture = shown(Samples(values=values, bits=None, inverted=inverted), (low, low + width))
    assert picture.tolist() == ([[255, 255, 0, 0]] if inverted else [[0, 0, 255, 255]])


def test_a_window_on_colour_of_8_bits_is_refused():
    with pytest.raises(UnreadableError, match="a window is for gray values"):
        shown(Samples(values=np.zeros((2, 2, 3), np.uint8), bits=8), (0, 9))


def test_polarity_comes_before_alpha_and_both_before_the_orientation():
    values = np.array([[0, 0], [255, 255]], np.uint8)
    alpha = np.array([[1, 0], [1, 1]], np.float32)
    samples = Samples(values=values, bits=8, alpha=alpha, inverted=True, orientation=2)
    assert shown(samples).tolist() == [[0, 255], [0, 0]]


def test_premultiplied_colours_are_not_multiplied_twice():
    samples = Samples(
        values=np.full((1, 1, 3), 100, np.uint8),
        bits=8,
        alpha=np.full((1, 1), 0.5, np.float32),
        premultiplied=True,
    )
    assert shown(samples).tolist() == [[[100, 100, 100]]]


def test_values_that_are_no_numbers_are_refused():
    values = np.array([[0.0, np.nan]], np.float32)
    with pytest.raises(UnreadableError, match="not finite"):
        shown(Samples(values=values, bits=None), (0, 1))
    with pytest.raises(UnreadableError, match="not finite"):
        structure(Samples(values=values, bits=None))


def test_the_structure_is_whatever_is_not_black_in_any_channel():
    blue = np.zeros((1, 2, 3), np.uint16)
    blue[0, 1, 2] = 1
    assert structure(Samples(values=blue, bits=16)).tolist() == [[False, True]]
    alpha = np.array([[1, 0]], np.float32)
    assert not structure(Samples(values=blue, bits=16, alpha=alpha)).any()


def test_a_mask_whose_white_is_zero_is_black_at_its_largest_value():
    values = np.array([[255, 0]], np.uint8)
    found = structure(Samples(values=values, bits=8, inverted=True))
    assert found.tolist() == [[False, True]]


def test_labels_that_lossy_compression_mixed_are_refused():
    values = np.array([[0, 2]], np.uint8)
    with pytest.raises(UnreadableError, match="as PNG"):
        structure(Samples(values=values, bits=8, lossy=True))
    assert not structure(Samples(values=values * 0, bits=8, lossy=True)).any()
