"""Tests of medleak.custom.data.image_files: nothing is left out, and nothing is read, unnoticed."""

import pytest
from PIL import Image
from tests.custom.data.pictures import picture
from tests.custom.data.pictures import refusal as one_line

from medleak.custom.data.data_error import DataError
from medleak.custom.data.image_files import find_images, may_be_image, open_image, sub_folders


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "scans").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "scans" / "sound.png")
    return tmp_path / "scans"


def refusal(folder):
    with pytest.raises(DataError) as caught:
        list(find_images(folder))
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    "name",
    [
        *("x.heic", "x.jp2", "x.avif", "x.JXL", "x.dcm", "x.nii", "x.npy", "x.svs"),
        *("x.nii.gz", "x.NII.GZ", "x.mgz", "x.ppm", "x.pgm", "x.psd", "x.mrxs", "x.ima"),
    ],
)
def test_an_image_of_a_kind_that_is_not_read_is_refused_and_not_passed_over(folder, name):
    (folder / name).write_bytes(b"\0\0\0\x18ftypheic")
    assert name in str(refusal(folder))
    assert "Convert it to PNG" in str(refusal(folder))


def test_dicom_is_known_by_its_preamble_whatever_it_is_called(folder):
    (folder / "IM0001").write_bytes(bytes(128) + b"DICM\x02\0")
    assert "medleak data dicom" in str(refusal(folder))


@pytest.mark.parametrize(
    "head",
    [
        *(b"\0\0\0\x0cjP  \r\n", b"\xff\x4f\xff\x51\0", b"\0\0\0\x0cJXL \r\n"),
        *(b"\0\0\0\x18ftypheic\0", b"\0\0\0\x1cftypavif\0"),
    ],
)
@pytest.mark.parametrize("name", ["IM0001", "x.txt", "x.png"])
def test_a_kind_that_is_not_read_is_known_by_its_content_whatever_it_is_called(folder, head, name):
    (folder / name).write_bytes(head)
    assert "is of a kind that is not read" in str(refusal(folder))
    assert may_be_image(folder / name)
    (folder / name).write_bytes(b"notes")
    assert may_be_image(folder / name) is name.endswith(".png")


def test_a_png_may_be_called_anything(folder):
    (folder / "sound.png").rename(folder / "sound.dcm")
    assert [path.name for path in find_images(folder)] == ["sound.dcm"]


@pytest.mark.parametrize("name", ["gone", "gone.png", "notes.txt"])
def test_a_link_that_leads_nowhere_is_refused_wherever_it_is(folder, name):
    (folder / name).symlink_to(folder / "nowhere" / name)
    assert name in str(refusal(folder))
    with pytest.raises(DataError, match="leads nowhere"):
        sub_folders(folder)


def test_links_to_files_and_folders_elsewhere_are_followed(folder, tmp_path):
    (tmp_path / "more").mkdir()
    (folder / "sound.png").rename(tmp_path / "more" / "a.png")
    (folder / "link.png").symlink_to(tmp_path / "more" / "a.png")
    (folder / "all").symlink_to(tmp_path / "more")
    assert sub_folders(folder) == ["all"]
    assert sorted(p.relative_to(folder).as_posix() for p in find_images(folder)) == [
        "all/a.png",
        "link.png",
    ]


def test_what_an_error_quotes_as_bytes_is_not_in_its_log_line():
    error = DataError("Image 'x.png' is damaged (ValueError: no number: b'Doe Jane'): mend it.")
    assert error.for_log() == "Image '…' is damaged (ValueError: no number: '…'): mend it."


@pytest.mark.parametrize("where", [30, 60, 200])
def test_a_damaged_png_is_refused_by_name(tmp_path, where):
    path = picture(tmp_path / "x.png", size=(64, 64))
    content = bytearray(path.read_bytes())
    content[where] ^= 0xFF
    path.write_bytes(content)
    assert "x.png" in one_line(open_image, path)


def test_a_missing_image_is_refused_by_name(tmp_path):
    assert "does not exist" in one_line(open_image, tmp_path / "gone.png")


def test_a_folder_as_image_is_refused(tmp_path):
    assert "cannot be read" in one_line(open_image, tmp_path)


@pytest.mark.parametrize("limit", [50, 20])
def test_an_image_beyond_pillows_limit_is_refused_not_warned_of(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    assert f"{limit} pixels" in one_line(open_image, picture(tmp_path / "bomb.png"))


def test_several_images_in_one_file_are_refused(tmp_path):
    frames = [Image.new("L", (4, 4), shade) for shade in (0, 255)]
    frames[0].save(tmp_path / "two.tiff", save_all=True, append_images=frames[1:])
    assert "2 frames" in one_line(open_image, tmp_path / "two.tiff")


@pytest.mark.parametrize("format", ["EPS", "PPM", "ICO"])
def test_formats_that_are_not_listed_are_never_decoded(tmp_path, format):
    Image.new("L", (16, 16)).save(tmp_path / "x.png", format=format)
    assert "holds no PNG" in one_line(open_image, tmp_path / "x.png")
