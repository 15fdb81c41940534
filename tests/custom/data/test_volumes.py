"""Tests of medleak.custom.data.volumes: one orientation whatever the file's, and nothing else."""

import gzip
import itertools
import os
import sys

import numpy as np
import pytest
import torch

from medleak.custom.data.data_error import DataError
from medleak.custom.data.volumes import load_volume, read_labels, read_volume, save_volume

nibabel = pytest.importorskip("nibabel", reason="the extra nifti is not installed")

SIZE = (3, 4, 5)  # to the right, to the front, to the head
SPACING = (0.5, 2.0, 3.0)
# RAS, values by place: 100 a step to the right, 10 to the front, 1 to the head.
RAS: np.ndarray = np.tensordot([100, 10, 1], np.indices(SIZE), 1)
RIGHT = RAS.transpose(2, 1, 0)  # [D, H, W]
MOST = float(RAS.max())


def saved(path, values, affine, **header):
    image = nibabel.Nifti1Image(values, affine)
    image.set_sform(affine, header.get("sform", 1))
    image.set_qform(header.get("qform_affine", affine), header.get("qform", 1))
    if unit := header.get("unit"):
        image.header.set_xyzt_units(unit)
    nibabel.save(image, path)
    return path


def stored(permutation, flips, values: np.ndarray = RAS):
    """``values`` as a file stores them whose axes are permuted and flipped, and its affine."""
    affine = np.diag([*SPACING, 1.0])
    affine[:3, 3] = -7, 11, 13
    order = np.argsort(permutation)
    turned = values.transpose(*permutation, *range(3, values.ndim))
    place = np.eye(4)
    place[:3, :3] = 0
    for axis, source in enumerate(permutation):
        place[source, axis] = 1
    for axis, flip in enumerate(flips):
        if flip:
            turned = np.flip(turned, axis)
            step = np.eye(4)
            step[axis, axis], step[axis, 3] = -1, turned.shape[axis] - 1
            place = place @ step
    assert sorted(order) == [0, 1, 2]
    return np.ascontiguousarray(turned), affine @ place


@pytest.mark.parametrize("flips", list(itertools.product((False, True), repeat=3)))
@pytest.mark.parametrize("permutation", list(itertools.permutations(range(3))))
def test_every_flip_and_permutation_of_the_axes_is_the_same_volume(tmp_path, permutation, flips):
    values, affine = stored(permutation, flips)
    path = saved(tmp_path / "x.nii", values.astype(np.int16), affine)
    volume = read_volume(path, (0, MOST))
    assert volume.values.shape == (1, 5, 4, 3)
    np.testing.assert_allclose(volume.values[0], RIGHT / MOST, atol=1e-6)
    assert volume.spacing == pytest.approx((3, 2, 0.5))
    labels = read_labels(path)
    np.testing.assert_array_equal(labels.values, RIGHT)
    assert labels.spacing == volume.spacing


def test_an_oblique_volume_goes_to_the_nearest_axes_and_keeps_its_voxels_size(tmp_path):
    angle = np.radians(20)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    path = saved(tmp_path / "x.nii", RAS.astype(np.int16), turn @ np.diag([*SPACING, 1]))
    volume = read_volume(path, (0, MOST))
    np.testing.assert_allclose(volume.values[0], RIGHT / MOST, atol=1e-6)
    assert volume.spacing == pytest.approx((3, 2, 0.5))


def test_a_fourth_axis_is_channels_each_with_a_window_of_its_own(tmp_path):
    both = np.stack([RAS, 1000 - 2.0 * RAS], -1).astype(np.float32)
    values, affine = stored((2, 0, 1), (True, False, True), both)
    volume = read_volume(saved(tmp_path / "x.nii.gz", values, affine))
    assert volume.values.shape == (2, 5, 4, 3)
    low, high = np.percentile(RAS, (0.5, 99.5))
    right = np.clip((RIGHT - low) / (high - low), 0, 1)
    np.testing.assert_allclose(volume.values[0], right, atol=1e-5)
    np.testing.assert_allclose(volume.values[1], 1 - right, atol=1e-5)


def test_slope_and_intercept_come_before_the_window(tmp_path):
    image = nibabel.Nifti1Image(RAS.astype(np.int16), np.diag([*SPACING, 1]))
    image.header.set_slope_inter(2, -50)
    image.header.set_data_dtype(np.int16)
    image.set_sform(image.affine, 1)
    nibabel.save(image, tmp_path / "x.nii")
    again = nibabel.load(tmp_path / "x.nii")
    real = np.asarray(again.dataobj).transpose(2, 1, 0)
    volume = read_volume(tmp_path / "x.nii", (float(real.min()), float(real.max())))
    right = (real - real.min()) / np.ptp(real)
    np.testing.assert_allclose(volume.values[0], right, atol=1e-6)


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1), ("meter", 1000), ("micron", 0.001)])
def test_spacing_is_in_millimetres(tmp_path, unit, factor):
    path = saved(tmp_path / "x.nii", RAS.astype(np.int16), np.diag([*SPACING, 1]), unit=unit)
    assert read_volume(path).spacing == pytest.approx((3 * factor, 2 * factor, 0.5 * factor))


def test_colour_and_slices_are_volumes_too(tmp_path):
    colour = np.zeros(SIZE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    colour["G"] = 255
    path = saved(tmp_path / "x.nii", colour, np.diag([*SPACING, 1]))
    volume = read_volume(path, (0, 255))
    assert volume.values.shape == (3, 5, 4, 3)
    assert volume.values.mean((1, 2, 3)).tolist() == [0, 1, 0]
    flat = saved(tmp_path / "y.nii", RAS[:, :, 0].astype(np.int16), np.diag([*SPACING, 1]))
    assert read_volume(flat).values.shape == (1, 1, 4, 3)


def test_one_value_is_black_and_values_stay_between_0_and_1(tmp_path):
    path = saved(tmp_path / "x.nii", np.full(SIZE, 7, np.int16), np.eye(4))
    assert read_volume(path).values.max() == 0
    path = saved(tmp_path / "y.nii", RAS.astype(np.float32), np.eye(4))
    values = read_volume(path, (50, 60)).values
    assert (values.min(), values.max()) == (0, 1)


def test_no_text_of_the_header_is_kept_or_said(tmp_path, caplog, capfd):
    image = nibabel.Nifti1Image(RAS.astype(np.int16), np.eye(4))
    image.header["descrip"] = b"Doe, Jane"
    image.header["db_name"] = b"MRN 0815"
    image.set_sform(np.eye(4), 1)
    nibabel.save(image, tmp_path / "x.nii")
    with caplog.at_level("DEBUG"):
        volume = read_volume(tmp_path / "x.nii")
    assert volume.__slots__ == ("values", "spacing")
    content = bytearray((tmp_path / "x.nii").read_bytes())
    content[70:72] = b"\xff\xff"  # the type of values
    (tmp_path / "x.nii").write_bytes(bytes(content))
    with pytest.raises(DataError) as caught, caplog.at_level("DEBUG"):
        read_volume(tmp_path / "x.nii")
    said = str(caught.value) + caplog.text + "".join(capfd.readouterr())
    assert "Doe" not in said
    assert "0815" not in said


def broken(path, kind):
    values, affine = RAS.astype(np.float32), np.diag([*SPACING, 1])
    if kind == "not a number":
        values = np.where(values > 3, values, np.nan)
    if kind == "complex":
        values = values.astype(np.complex64)
    if kind == "five axes":
        values = np.zeros((*SIZE, 2, 2), np.float32)
    if kind == "no orientation":
        return saved(path, values, affine, sform=0, qform=0)
    if kind == "two orientations":
        return saved(path, values, affine, qform_affine=affine @ np.diag([-1, 1, 1, 1]))
    saved(path, values, affine)
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:400])
    if kind == "text":
        path.write_text("Doe, Jane")
    if kind == "missing":
        path.unlink()
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("not a number", "not finite"),
        ("complex", "complex"),
        ("five axes", "5 axes"),
        ("no orientation", "states no orientation"),
        ("two orientations", "two different orientations"),
        ("truncated", "no sound NIfTI"),
        ("text", "no sound NIfTI"),
        ("missing", "does not exist"),
    ],
)
@pytest.mark.parametrize("read", [read_volume, read_labels])
def test_what_is_no_volume_is_refused_by_name(tmp_path, kind, message, read):
    with pytest.raises(DataError, match=rf"^Volume '.*x\.nii' .*{message}") as caught:
        read(broken(tmp_path / "x.nii", kind))
    assert "\n" not in str(caught.value)


def test_labels_are_whole_numbers_of_one_channel(tmp_path):
    path = saved(tmp_path / "x.nii", RAS.astype(np.float32) + 0.5, np.eye(4))
    with pytest.raises(DataError, match="no whole numbers"):
        read_labels(path)
    path = saved(tmp_path / "y.nii", np.zeros((*SIZE, 2), np.int16), np.eye(4))
    with pytest.raises(DataError, match="2 channels"):
        read_labels(path)


def test_a_header_that_promises_too_much_is_refused_before_reading(tmp_path):
    path = saved(tmp_path / "x.nii", RAS.astype(np.int16), np.eye(4))
    content = bytearray(path.read_bytes())
    content[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()
    packed = tmp_path / "bomb.nii.gz"
    packed.write_bytes(gzip.compress(bytes(content)))
    with pytest.raises(DataError, match="more than"):
        read_volume(packed)


def test_an_empty_window_is_the_callers_error(tmp_path):
    path = saved(tmp_path / "x.nii", RAS.astype(np.int16), np.eye(4))
    with pytest.raises(ValueError, match="is empty"):
        read_volume(path, (3, 3))


def test_a_missing_extra_is_said_with_the_command_that_installs_it(tmp_path, monkeypatch):
    for name in ("nibabel", "nibabel.nifti1"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DataError, match=r"pip install 'medleak\[nifti\]'"):
        read_volume(tmp_path / "x.nii")


@pytest.fixture
def drawn():
    return np.random.default_rng(0).integers(0, 256, (6, 5, 4), dtype=np.uint8)


def test_what_was_written_is_loaded_again_and_is_the_owners_alone(tmp_path, drawn):
    save_volume(tmp_path / "a.nii", drawn)
    loaded = load_volume(tmp_path / "a.nii", drawn.shape, 1)
    torch.testing.assert_close(loaded[0], torch.from_numpy(drawn) / 255)
    if os.name == "posix":
        assert (tmp_path / "a.nii").stat().st_mode & 0o77 == 0


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PSR", "IRA"])
def test_a_network_sees_the_patient_lie_the_same_however_the_file_is_turned(tmp_path, drawn, codes):
    save_volume(tmp_path / "a.nii", drawn)
    orientations = nibabel.orientations
    turn = orientations.ornt_transform(
        orientations.axcodes2ornt(("R", "A", "S")), orientations.axcodes2ornt(tuple(codes))
    )
    nibabel.save(nibabel.load(tmp_path / "a.nii").as_reoriented(turn), tmp_path / "b.nii.gz")
    loaded = load_volume(tmp_path / "b.nii.gz", drawn.shape, 1)
    torch.testing.assert_close(loaded[0], torch.from_numpy(drawn) / 255)


def test_rows_run_from_front_to_back_columns_from_the_patients_right_slices_to_the_head(tmp_path):
    values = np.zeros((3, 4, 5), np.uint8)
    values[2, 3, 4] = 255  # right, front, head
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "a.nii")
    loaded = load_volume(tmp_path / "a.nii", (4, 3, 5), 1)
    assert loaded.nonzero().tolist() == [[0, 0, 0, 4]]


def test_channels_of_a_volume_are_not_guessed(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (4, 4, 4, 2), dtype=np.uint8)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "a.nii")
    assert load_volume(tmp_path / "a.nii", (4, 4, 4), 2).shape == (2, 4, 4, 4)
    with pytest.raises(DataError, match="2 channels instead of 4"):
        load_volume(tmp_path / "a.nii", (4, 4, 4), 4)


@pytest.mark.parametrize("size", [(4, 4, 4), (16, 8, 12), (8, 8, 8)])
def test_one_channel_is_repeated_and_another_size_is_resampled(tmp_path, size):
    save_volume(tmp_path / "a.nii", np.full((8, 8, 8), 51, np.uint8))
    found = load_volume(tmp_path / "a.nii", size, 3)
    torch.testing.assert_close(found, torch.full((3, *size), 0.2))


def test_a_volume_of_16_bits_is_windowed_by_its_percentiles(tmp_path):
    values = np.arange(1000, dtype=np.int16).reshape(10, 10, 10) - 500
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "a.nii")
    loaded = load_volume(tmp_path / "a.nii", (10, 10, 10), 1)
    assert (loaded.min(), loaded.max()) == (0, 1)
    assert abs(float(loaded.mean()) - 0.5) < 0.01
