"""Tests of what the commands of medleak data share."""

import pytest
from PIL import Image

from medleak.custom.data.datalist import DataError, Item
from medleak.inversion.cli.data.common import decode_all, parse_window


@pytest.mark.parametrize(
    ("text", "window"), [("0:4095", (0.0, 4095.0)), ("-1000:400", (-1000.0, 400.0))]
)
def test_a_window_is_black_and_white(text, window):
    assert parse_window(text) == window


@pytest.mark.parametrize("text", ["", "4095", "low:high", "0:", ":1"])
def test_what_is_no_pair_of_numbers_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="is no pair of numbers: black and white"):
        parse_window(text)


def test_the_first_image_that_a_job_could_not_decode_is_named(tmp_path):
    Image.new("L", (9, 9)).save(tmp_path / "good.png")
    decode_all([Item("good.png", 0, "p")], tmp_path)
    (tmp_path / "bad.png").write_bytes((tmp_path / "good.png").read_bytes()[:40])
    with pytest.raises(DataError, match=r"bad\.png"):
        decode_all([Item("good.png", 0, "p"), Item("bad.png", 0, "q")], tmp_path)


def test_a_mask_is_decoded_with_its_image(tmp_path):
    Image.new("L", (9, 9)).save(tmp_path / "a.png")
    (tmp_path / "mask.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"mask\.png"):
        decode_all([Item("a.png", 0, "p", mask="mask.png")], tmp_path)
