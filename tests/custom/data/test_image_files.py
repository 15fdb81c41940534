"""Tests of medleak.custom.data.image_files: nothing is left out, and nothing is read, unnoticed."""

import pytest
from PIL import Image

from medleak.custom.data.data_error import DataError
from medleak.custom.data.image_files import find_images, may_be_image, sub_folders


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
