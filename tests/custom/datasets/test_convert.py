"""Tests of medleak.custom.datasets.convert and of the sets that it writes."""

import numpy as np
import pytest
from PIL import Image
from tests.custom.identity.headers import a_file

from medleak.custom.data.datalist import DataError
from medleak.custom.data.folders.classes import read_folders
from medleak.custom.data.folders.dicom_tree import find_dicom
from medleak.custom.datasets.convert import (
    claim_empty,
    dicom_pictures,
    refuse_lost,
    windowed_pictures,
    write_pictures,
)


def flat(value):
    return np.full((4, 4), value, np.uint8)


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_pictures_get_running_names_that_keep_patients_and_classes(tmp_path):
    made = [("a", "Doe, J", flat(1)), ("b", "Roe, R", flat(2)), ("b", "Doe, J", flat(3))]
    assert write_pictures(made, tmp_path / "out") == 3
    items, names = read_folders(tmp_path / "out")
    assert names == ("a", "b")
    assert [(i.image, i.patient) for i in items] == [
        ("a/p00000_00.png", "p00000"),
        ("b/p00000_01.png", "p00000"),
        ("b/p00001_00.png", "p00001"),
    ]
    assert read(tmp_path / "out/b/p00000_01.png").max() == 3


def test_a_folder_that_holds_something_is_not_written_to(tmp_path):
    (tmp_path / "old.txt").touch()
    with pytest.raises(DataError, match="is not empty"):
        write_pictures([("a", "x", flat(0))], tmp_path)
    claim_empty(tmp_path / "new")


def test_sixteen_bit_images_are_rewritten_by_the_window(tmp_path):
    (tmp_path / "in" / "a").mkdir(parents=True)
    values = np.linspace(0, 4095, 16).astype(np.uint16).reshape(4, 4)
    Image.fromarray(values).save(tmp_path / "in" / "a" / "0007_001.png")
    Image.fromarray(flat(90)).save(tmp_path / "in" / "a" / "0007_002.png")
    found, classes = read_folders(tmp_path / "in")
    write_pictures(windowed_pictures(found, classes, tmp_path / "in", (0, 4095)), tmp_path / "out")
    items, _ = read_folders(tmp_path / "out")
    assert {i.patient for i in items} == {"p00000"}
    np.testing.assert_array_equal(
        read(tmp_path / "out" / items[0].image), np.rint(values / 4095 * 255)
    )


def test_a_window_on_colour_is_refused(tmp_path):
    (tmp_path / "a").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "a" / "x.png")
    with pytest.raises(DataError, match="a window is for gray"):
        list(windowed_pictures(*read_folders(tmp_path), tmp_path, (0, 255)))


def test_a_folder_without_dicom_is_refused(tmp_path):
    (tmp_path / "x.png").touch()
    with pytest.raises(DataError, match="holds no DICOM file"):
        list(dicom_pictures(find_dicom(tmp_path)))
    with pytest.raises(DataError, match="does not exist"):
        list(dicom_pictures(find_dicom(tmp_path / "nowhere")))


def test_a_class_of_which_nothing_is_left_is_refused():
    refuse_lost(["a", "b"], {"a", "b"})
    with pytest.raises(DataError, match=r"All images of class 'b' are broken \(1 of 2 classes\)"):
        refuse_lost(["a", "b"], {"a"})


@pytest.mark.parametrize("sound", ["0.dcm", None])
def test_dicom_that_is_broken_is_no_empty_class_and_no_empty_set(tmp_path, sound):
    pytest.importorskip("pydicom", reason="the extra dicom is not installed")
    for name in ("a", "b"):
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / "x.dcm").write_text("no picture")
    if sound:
        a_file(tmp_path / "in" / "a" / sound)
    broken = {}
    pictures = dicom_pictures(find_dicom(tmp_path / "in"), broken=broken)
    with pytest.raises(DataError, match=f"All images of class '{'b' if sound else 'a'}'"):
        write_pictures(pictures, tmp_path / "out")
    assert len(broken) == 2
    assert not (tmp_path / "out").exists()
    if sound:
        a_file(tmp_path / "in" / "b" / sound)
        again = dicom_pictures(find_dicom(tmp_path / "in"), broken={})
        assert write_pictures(again, tmp_path / "out") == 2
