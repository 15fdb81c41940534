"""Tests of medleak.inversion.images.pictures."""

import numpy as np
import pytest
import torch
from PIL import Image

from medleak.inversion.images.pictures import (
    TILE_PX,
    Tile,
    panel,
    planes,
    read_picture,
    save_png,
    sheet,
    sheet_name,
    sheet_rows,
    to_picture,
)


def chunks(data: bytes) -> list[bytes]:
    """The names of a PNG's chunks."""
    names, at = [], 8
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        names.append(data[at + 4 : at + 8])
        at += length + 12
    return names


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_a_picture_has_the_images_values_in_eight_bits(channels, mode):
    image = torch.linspace(0, 1, channels * 6).reshape(channels, 2, 3)
    picture = to_picture(image)
    assert picture.mode == mode
    assert picture.size == (3, 2)
    pixels = np.asarray(picture).reshape(2, 3, channels).transpose(2, 0, 1)
    np.testing.assert_array_equal(pixels, np.round(image.numpy() * 255))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_that_was_kept_is_read_to_within_its_eight_bits(tmp_path, channels):
    image = torch.rand(channels, 5, 7, generator=torch.Generator().manual_seed(0))
    save_png(tmp_path / "image.png", to_picture(image))
    found = read_picture(tmp_path / "image.png")
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, image, atol=0.5 / 255 + 1e-6, rtol=0)


def test_values_outside_the_range_are_clipped_not_wrapped():
    assert np.asarray(to_picture(torch.tensor([[[-0.2, 1.3]]]))).tolist() == [[0, 255]]


@pytest.mark.parametrize("shape", [(0, 4, 4), (4, 4), (1, 1, 1, 4, 4)])
def test_what_is_not_one_image_is_refused(shape):
    with pytest.raises(ValueError, match="pass one image"):
        to_picture(torch.zeros(shape))


def test_channels_that_are_no_colours_stand_one_below_the_other():
    picture = to_picture(torch.stack([torch.zeros(2, 3), torch.ones(2, 3)]))
    assert np.asarray(picture).tolist() == [[0] * 3] * 2 + [[255] * 3] * 2


def marked(size=(4, 6, 8), at=(1, 2, 5)):
    volume = torch.zeros(1, *size)
    volume[(0, *at)] = 1.0
    return volume


def test_the_three_planes_of_a_volume_meet_in_a_point_with_the_head_on_top():
    (shown,) = planes(marked(), 0.0)
    assert shown.shape == (8, 6 + 6 + 4)
    assert not shown.any()

    volume = torch.zeros(1, 4, 4, 4)
    volume[0, 1, 2, 2] = 1.0
    (shown,) = planes(volume + marked((4, 4, 4), (2, 2, 3)), 0.5)
    axial, coronal, sagittal = shown.split(4, 1)
    assert axial.nonzero().tolist() == [[1, 2]]
    assert coronal.nonzero().tolist() == [[0, 2]]  # slice 3 is on top
    assert sagittal.nonzero().tolist() == [[0, 2], [1, 1]]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_sheet_holds_planes_from_end_to_end_and_the_picture_in_its_middle(channels):
    volume = torch.rand(channels, 12, 10, 9, generator=torch.Generator().manual_seed(0))
    rows = sheet_rows(volume.shape)
    shown = np.asarray(sheet(volume))
    picture = np.asarray(to_picture(volume))
    assert (rows, shown.shape[0]) == (11, 11 * picture.shape[0])
    row = picture.shape[0]
    np.testing.assert_array_equal(shown[5 * row : 6 * row], picture)


@pytest.mark.parametrize(
    ("shape", "rows"),
    [((1, 96, 96, 96), 33), ((4, 96, 96, 96), 9), ((1, 8, 8, 8), 7), ((1, 5000, 2, 2), 1)],
)
def test_a_sheet_has_as_many_rows_as_fit_and_an_odd_number_of_them(shape, rows):
    assert sheet_rows(shape) == rows


def test_the_sheet_of_a_truth_is_named_like_one():
    assert sheet_name("images/truth_site-1_0.png") == "images/truth_site-1_0_planes.png"


def test_a_written_png_holds_pixels_and_nothing_else(tmp_path):
    picture = to_picture(torch.rand(1, 8, 8))
    picture.info.update({"comment": "Jane Doe, born 1961", "dpi": (72, 72)})
    picture.getexif()[0x010E] = "Jane Doe"
    save_png(tmp_path / "a" / "x.png", picture)
    data = (tmp_path / "a" / "x.png").read_bytes()
    assert b"Doe" not in data
    assert set(chunks(data)) == {b"IHDR", b"IDAT", b"IEND"}
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a" / "x.png")), picture)
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["x.png"]


def test_a_panel_shows_each_image_enlarged_by_a_whole_factor_unsmoothed():
    image = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]).repeat(1, 32, 32)
    picture = panel([[Tile("a", image), Tile("b", 1 - image)]])
    pixels = np.asarray(picture)[..., 0]
    zoom = TILE_PX // 64
    rows, columns = np.nonzero(pixels == 0)
    block = pixels[rows.max() - 64 * zoom + 1 : rows.max() + 1]
    # Below the titles there is black and white alone: no gray of an interpolation.
    assert set(np.unique(block)) == {0, 255}
    assert columns.max() - columns.min() + 1 >= 2 * 64 * zoom


def test_long_titles_and_headings_stay_inside_the_panel():
    word = "percentile_gaussian:sigma0=10,percentile=95,scope=group" * 3
    tile = Tile(word, torch.zeros(1, 64, 64), word)
    plain = panel([[Tile("a", torch.zeros(1, 64, 64), "a")] * 2])
    wrapped = panel([[tile, tile]], heading=word)
    assert wrapped.width == plain.width
    assert wrapped.height > plain.height + 100
    margin = np.asarray(wrapped)[:, -8:]
    assert (margin == 255).all()


def test_gray_and_colour_may_stand_in_one_panel():
    picture = panel([[Tile("a", torch.rand(1, 16, 16)), Tile("b", torch.rand(3, 16, 16))]])
    assert picture.mode == "RGB"


@pytest.mark.parametrize("rows", [[], [[]]])
def test_a_panel_without_tiles_is_refused(rows):
    with pytest.raises(ValueError, match="at least one tile"):
        panel(rows)


def test_images_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match="8 x 8, 9 x 9"):
        panel([[Tile("a", torch.zeros(1, 8, 8)), Tile("b", torch.zeros(1, 9, 9))]])
