"""Tests of what the commands of medleak data share."""

import pytest

from medleak.inversion.cli.data.common import parse_window


@pytest.mark.parametrize(
    ("text", "window"), [("0:4095", (0.0, 4095.0)), ("-1000:400", (-1000.0, 400.0))]
)
def test_a_window_is_black_and_white(text, window):
    assert parse_window(text) == window


@pytest.mark.parametrize("text", ["", "4095", "low:high", "0:", ":1"])
def test_what_is_no_pair_of_numbers_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="is no pair of numbers: black and white"):
        parse_window(text)
