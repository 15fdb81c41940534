"""Tests of medleak.custom.data.folders.dicom_tree."""

import os

import numpy as np
import pytest
from tests.custom.identity.headers import a_file

from medleak.custom.data.datalist import DataError
from medleak.custom.data.folders.dicom_tree import find_dicom

pytest.importorskip("pydicom", reason="the extra dicom is not installed")

PIXELS = np.arange(64, dtype=np.uint8).reshape(8, 8)


def test_files_are_found_by_content_at_any_depth_and_others_are_counted_by_reason(tmp_path):
    for name in ("b/deep/IM0001", "a/x.dcm", ".trash/y.dcm"):
        a_file(tmp_path / name)
    a_file(tmp_path / "b" / "IM0002", preamble=False)
    (tmp_path / "b" / "notes.txt").write_text("DICM")
    (tmp_path / "b" / "viewer").write_bytes(b"MZ")
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "a" / "claims.dcm").write_text("nobody")
    tree = find_dicom(tmp_path)
    assert [(p.relative_to(tmp_path).as_posix(), name) for p, name in tree.files] == [
        ("a/claims.dcm", "a"),
        ("a/x.dcm", "a"),
        ("b/IM0002", "b"),
        ("b/deep/IM0001", "b"),
    ]
    assert tree.classes == ("a", "b")
    assert tree.left_out == {
        "hidden": 1,
        "not DICOM (.txt)": 1,
        "not DICOM (without suffix)": 1,
        "DICOMDIR (a list of the files)": 1,
    }


def test_files_without_sub_folders_are_one_class(tmp_path):
    a_file(tmp_path / "x.dcm")
    assert find_dicom(tmp_path).classes == ("all",)


def test_a_folder_without_dicom_says_what_it_holds_instead(tmp_path):
    (tmp_path / "x.png").touch()
    with pytest.raises(DataError, match=r"holds no DICOM file \(1 not DICOM \(\.png\)\)"):
        find_dicom(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        find_dicom(tmp_path / "nowhere")


def test_files_beside_the_classes_are_refused(tmp_path):
    a_file(tmp_path / "a" / "x.dcm")
    a_file(tmp_path / "y.dcm")
    with pytest.raises(DataError, match="1 DICOM files beside its sub-folders"):
        find_dicom(tmp_path)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("train", "test"), "parts of a split"),
        (("patient_1", "patient_2"), "names like patients'"),
        (("1.2.826.0.1", "1.2.826.0.2"), "names like patients'"),
        (("images", "masks"), "images and their masks"),
    ],
)
def test_folders_that_are_no_classes_are_refused_unless_told(tmp_path, names, said):
    for name in names:
        a_file(tmp_path / name / "IM1")
    with pytest.raises(DataError, match=said):
        find_dicom(tmp_path)
    assert find_dicom(tmp_path, told=True).classes == tuple(sorted(names))


def test_studies_that_are_numbered_alike_in_every_class_are_no_reason_to_refuse(tmp_path):
    for name in ("a/ST1/SE1/IM1", "b/ST1/SE1/IM1"):
        a_file(tmp_path / name)
    assert find_dicom(tmp_path).classes == ("a", "b")


def test_a_class_that_is_a_link_is_read_and_one_that_leads_nowhere_is_refused(tmp_path):
    a_file(tmp_path / "in" / "a" / "x.dcm")
    a_file(tmp_path / "elsewhere" / "y.dcm")
    (tmp_path / "in" / "b").symlink_to(tmp_path / "elsewhere")
    tree = find_dicom(tmp_path / "in")
    assert tree.classes == ("a", "b")
    assert len(tree.files) == 2
    (tmp_path / "in" / "c").symlink_to(tmp_path / "gone")
    with pytest.raises(DataError, match="leads nowhere"):
        find_dicom(tmp_path / "in")
    (tmp_path / "in" / "c").unlink()
    (tmp_path / "in" / "a" / "back").symlink_to(tmp_path / "in")
    with pytest.raises(DataError, match="a link back to"):
        find_dicom(tmp_path / "in")


def test_a_pipe_is_counted_and_not_waited_for(tmp_path):
    a_file(tmp_path / "x.dcm")
    os.mkfifo(tmp_path / "y.dcm")
    assert find_dicom(tmp_path).left_out == {"no regular file": 1}
