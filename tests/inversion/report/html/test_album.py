"""Tests of the report's pictures."""

import base64
import io

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from medleak.inversion.report.html.album import REDUCED_SIDE, Album, read_png


def save(folder, name, value=0, size=(8, 8), **options):
    path = folder / name
    Image.fromarray(np.full(size, value, np.uint8)).save(path, **options)
    return path


def test_a_picture_keeps_its_pixels_and_nothing_else(tmp_path):
    text = PngImagePlugin.PngInfo()
    text.add_text("Patient", "Mustermann")
    save(tmp_path, "a.png", 7, pnginfo=text)
    png = read_png(tmp_path, "a.png")
    assert b"Mustermann" not in png
    with Image.open(io.BytesIO(png)) as picture:
        assert not picture.info
        assert np.asarray(picture).min() == np.asarray(picture).max() == 7


@pytest.mark.parametrize("name", ["../outside.png", "/etc/hostname", "gone.png", "text.png", "."])
def test_what_is_no_picture_of_the_audit_is_refused(tmp_path, name):
    audit = tmp_path / "audit"
    audit.mkdir()
    save(tmp_path, "outside.png")
    (audit / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"no picture|PNG|cannot be read"):
        read_png(audit, name)
    album = Album(10**6)
    assert album.add(audit, name) is None
    assert album.unreadable == 1


def test_equal_pictures_share_a_place_and_each_is_read_once(tmp_path):
    for name, value in (("a.png", 1), ("b.png", 1), ("c.png", 2)):
        save(tmp_path, name, value)
    album = Album(10**6)
    assert [album.add(tmp_path, n) for n in ("a.png", "b.png", "c.png", "a.png")] == [0, 0, 1, 0]
    assert len(album.pictures) == 2
    assert base64.b64decode(album.pictures[0]) == read_png(tmp_path, "a.png")


def test_what_does_not_fit_is_left_out_and_counted(tmp_path):
    rng = np.random.default_rng(0)
    for k in range(3):
        pixels = rng.integers(0, 256, (16, 16), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
    size = len(base64.b64encode(read_png(tmp_path, "0.png")))
    album = Album(size + 10)
    assert [album.add(tmp_path, f"{k}.png") for k in range(3)] == [0, None, None]
    assert album.left_out == 2


def test_pixels_of_a_forbidden_picture_are_shown_under_no_name(tmp_path):
    save(tmp_path, "original.png", 9)
    save(tmp_path, "other.png", 9, compress_level=0)
    save(tmp_path, "fine.png", 8)
    album = Album(10**6)
    album.forbid(tmp_path, ["original.png", "gone.png"])
    assert album.add(tmp_path, "other.png") is None
    assert album.withheld == 1
    assert album.add(tmp_path, "fine.png") == 0


def test_large_pictures_are_reduced_only_where_that_was_asked(tmp_path):
    save(tmp_path, "large.png", 3, size=(2 * REDUCED_SIDE, REDUCED_SIDE))
    for reduced, width in ((True, REDUCED_SIDE // 2), (False, REDUCED_SIDE)):
        album = Album(10**6, reduced=reduced)
        assert album.add(tmp_path, "large.png") == 0
        assert album.larger == 1
        with Image.open(io.BytesIO(base64.b64decode(album.pictures[0]))) as picture:
            assert picture.size[0] == width
