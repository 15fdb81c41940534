"""Tests of medleak.custom.data.volumes."""

import importlib.util
import os

import numpy as np
import pytest
import torch

from medleak.custom.data.data_error import DataError
from medleak.custom.data.volumes import load_volume, read_volume, save_volume

nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed")


@pytest.fixture
def volume():
    return np.random.default_rng(0).integers(0, 256, (6, 5, 4), dtype=np.uint8)


def test_what_was_written_is_read_again_and_is_the_owners_alone(tmp_path, volume):
    save_volume(tmp_path / "a.nii", volume)

    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii")[..., 0], volume)
    if os.name == "posix":
        assert (tmp_path / "a.nii").stat().st_mode & 0o77 == 0


@pytest.mark.parametrize(
    "codes", [("R", "A", "S"), ("L", "P", "S"), ("P", "S", "R"), ("I", "R", "A")]
)
def test_a_volume_lies_as_the_patient_does_however_its_file_is_turned(tmp_path, volume, codes):
    save_volume(tmp_path / "a.nii", volume)
    image = nibabel.load(tmp_path / "a.nii")
    wanted = nibabel.orientations.axcodes2ornt(codes)
    turn = nibabel.orientations.ornt_transform(
        nibabel.orientations.axcodes2ornt(("R", "A", "S")), wanted
    )
    nibabel.save(image.as_reoriented(turn), tmp_path / "b.nii.gz")

    np.testing.assert_array_equal(read_volume(tmp_path / "b.nii.gz")[..., 0], volume)


def test_rows_run_from_front_to_back_columns_from_the_patients_right_and_slices_to_the_head(
    tmp_path,
):
    values = np.zeros((3, 4, 5), np.uint8)
    values[2, 3, 4] = 200  # right, front, head
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "a.nii")

    assert np.argwhere(read_volume(tmp_path / "a.nii")).tolist() == [[0, 0, 4, 0]]


def test_channels_are_a_fourth_axis_and_none_is_guessed(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (4, 4, 4, 2), dtype=np.uint8)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "a.nii")

    assert load_volume(tmp_path / "a.nii", (4, 4, 4), 2).shape == (2, 4, 4, 4)
    with pytest.raises(DataError, match="2 channels instead of 4"):
        load_volume(tmp_path / "a.nii", (4, 4, 4), 4)


def test_one_channel_is_repeated_and_another_size_is_resampled(tmp_path):
    save_volume(tmp_path / "a.nii", np.full((8, 8, 8), 51, np.uint8))

    for size in ((4, 4, 4), (16, 8, 12), (8, 8, 8)):
        found = load_volume(tmp_path / "a.nii", size, 3)
        torch.testing.assert_close(found, torch.full((3, *size), 0.2))


def test_black_and_white_of_other_values_are_not_guessed(tmp_path):
    values = np.arange(64, dtype=np.int16).reshape(4, 4, 4)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "a.nii")

    with pytest.raises(DataError, match="black and white is unknown"):
        read_volume(tmp_path / "a.nii")


def test_what_is_no_volume_is_refused_by_name(tmp_path):
    (tmp_path / "a.nii").write_bytes(b"Jane Doe, no volume")
    with pytest.raises(DataError, match=r"a.nii' is damaged or no NIfTI") as refused:
        read_volume(tmp_path / "a.nii")
    assert "Jane" not in str(refused.value)
    with pytest.raises(DataError, match="does not exist"):
        read_volume(tmp_path / "b.nii")
    nibabel.save(nibabel.Nifti1Image(np.zeros((3, 3), np.uint8), np.eye(4)), tmp_path / "c.nii")
    with pytest.raises(DataError, match="2 axes"):
        read_volume(tmp_path / "c.nii")


def test_without_nibabel_it_is_said_how_to_get_it(tmp_path, monkeypatch, volume):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"medleak\[nifti\]"):
        read_volume(tmp_path / "a.nii")
    with pytest.raises(DataError, match=r"medleak\[nifti\]"):
        save_volume(tmp_path / "a.nii", volume)
