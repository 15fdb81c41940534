"""Tests of the commands that write images."""

import itertools
import json
import os
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.custom.identity.headers import a_file
from tests.inversion.cli.data.commands import TABLE, medleak, printed, refused

from medleak.custom.data.datalist import load_datalist
from medleak.custom.data.folders.classes import read_folders
from medleak.custom.phantoms import MODALITIES
from medleak.filters import storage


def test_a_window_rewrites_images_of_more_bits_under_running_names(folder):
    values = np.full((9, 9), 2048, np.uint16)
    values[0] = 1024
    for path in folder.rglob("*.png"):
        Image.fromarray(values).save(path)
    assert "--window" in refused("folder", folder, "--table", TABLE)
    printed("folder", folder, "--table", TABLE, "--window", "0:4096", "--out", "out")
    (item, *_) = load_datalist("out/a.json")["training"]
    assert Path(item.image).parts[-3] == "images"
    assert item.patient.startswith("p000")
    with Image.open(item.image) as image:
        assert image.getextrema() == (64, 128)


@pytest.mark.parametrize("modality", MODALITIES)
def test_phantoms_are_written_as_one_folder_a_class(modality):
    said = printed("synthetic", modality, "-n", 9, "--size", 32)
    items, names = read_folders(said["out"])
    assert len(items) == said["images"] == 9
    assert sorted(names) == sorted(MODALITIES[modality].classes)


@pytest.mark.parametrize(
    ("modality", "n"), [("cxr", 33), ("cxr", 60), ("cxr", 123), ("brain_mri", 33)]
)
def test_the_command_that_is_named_next_takes_so_few_images(modality, n):
    said = medleak("synthetic", modality, "-n", n, "--size", 16, "-o", "a set").stdout
    (line,) = [line for line in said.splitlines() if line.startswith("or, for lists")]
    command = shlex.split(line.partition(": ")[2])
    assert command[:3] == ["medleak", "data", "folder"]
    assert ("--table" in command) == (n < 123)
    printed(*command[2:])
    assert ("--table" in said.splitlines()[1]) == (n < 123)


def test_of_images_that_no_two_sites_can_share_no_command_is_named():
    said = medleak("synthetic", "cxr", "-n", 20, "--size", 16).stdout
    assert "next: more images" in said
    assert "MEDLEAK_DATA" not in said


def _npz(path, side=64):
    arrays = {}
    for part in ("train", "val", "test"):
        arrays[f"{part}_images"] = np.zeros((4, side, side), np.uint8)
        arrays[f"{part}_labels"] = np.array([[0], [1], [0], [1]], np.uint8)
    np.savez(path, **arrays)


def test_medmnist_converts_a_file_that_is_there(tmp_path):
    _npz(tmp_path / "x.npz")
    said = printed("medmnist", "pneumoniamnist", "--npz", "x.npz")
    assert said["out"] == "workspace/data/pneumoniamnist_64"
    assert said["licence"] == "CC BY 4.0"
    assert len(read_folders(said["out"], ["normal", "pneumonia"])[0]) == 12


def test_a_file_of_another_size_than_was_asked_for_keeps_it_and_that_is_said(tmp_path):
    _npz(tmp_path / "x.npz", 28)
    result = medleak("medmnist", "pneumoniamnist", "--npz", "x.npz", "--size", 128)
    assert result.exit_code == 0, result.output
    assert "--size 128 was not used: x.npz holds images of 28 px" in result.stderr
    assert "workspace/data/pneumoniamnist_28" in result.stdout
    with Image.open(next(Path("workspace/data/pneumoniamnist_28").rglob("*.png"))) as image:
        assert image.size == (28, 28)
    assert medleak("medmnist", "pneumoniamnist", "--npz", "x.npz", "-o", "again").stderr == ""


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize(
    "command",
    [
        ("synthetic", "cxr", "-n", 6, "--size", 16),
        ("synthetic", "brain_mri", "-n", 6, "--size", 16, "--masks"),
        ("medmnist", "pneumoniamnist", "--npz", "x.npz"),
        ("folder", "scans", "--table", TABLE, "--window", "0:255"),
    ],
)
def test_a_command_that_fails_half_way_leaves_nothing_and_can_be_repeated(
    folder, tmp_path, monkeypatch, command, error
):
    _npz(tmp_path / "x.npz")
    before = sorted(tmp_path.rglob("*"))
    save, remove, tried, left = storage.replacing, shutil.rmtree, itertools.count(1), []
    hidden = []

    def failing(path, **options):
        # Threads write, and a few more may have begun: they fail, too.
        if next(tried) >= 5:
            raise error
        return save(path, **options)

    def removing(path, **options):
        left.append([file.suffix for file in path.rglob("*") if file.is_file()])
        hidden.append(path.relative_to(tmp_path / "deep").parts[0])
        assert not Path("deep/out").exists()
        remove(path, **options)

    with monkeypatch.context() as patched:
        patched.setattr(storage, "replacing", failing)
        patched.setattr(shutil, "rmtree", removing)
        result = medleak(*command, "--out", "deep/out")
    # All that was ever written: four pictures in the hidden folder, nothing where it would show.
    pictures, *around = left
    assert pictures == [".png"] * 4
    assert not any(around)
    assert all(name.startswith(".out.") and name.endswith(".part") for name in hidden)
    # Nothing goes on when it has failed.
    assert 5 <= next(tried) - 1 <= 5 + 4 * len(os.sched_getaffinity(0))
    assert result.exit_code == (130 if isinstance(error, KeyboardInterrupt) else 1)
    assert sorted(tmp_path.rglob("*")) == before
    assert medleak(*command, "--out", "deep/out").exit_code == 0
    assert list(Path("deep").iterdir()) == [Path("deep/out")]


def test_a_folder_of_dicom_is_converted_and_what_is_not_used_is_said(tmp_path):
    pytest.importorskip("pydicom", reason="the extra dicom is not installed")
    for k in range(2):
        a_file(tmp_path / "s" / "a" / f"IM{k}", preamble=bool(k), PatientID=f"MRN-471{k}")
    (tmp_path / "s" / "a" / "notes.txt").touch()
    result = medleak("dicom", "s", "-o", "out")
    assert result.exit_code == 0, result.output
    assert "out: 2 images of a\nnot used: 1 not DICOM (.txt)" in result.stdout
    assert "no patient" not in result.stdout
    assert printed("dicom", "s", "-o", "again")["left_out"] == {"not DICOM (.txt)": 1}


def test_dicom_that_states_no_patient_or_is_broken_is_counted(tmp_path):
    pytest.importorskip("pydicom", reason="the extra dicom is not installed")
    a_file(tmp_path / "s" / "a" / "IM0", PatientID="MRN-4710")
    a_file(tmp_path / "s" / "a" / "IM1", PatientID="")
    (tmp_path / "s" / "a" / "x.dcm").write_text("no picture")
    result = medleak("dicom", "s", "-o", "out", "--skip-broken")
    assert "1 state no patient: each counts as a patient of its own" in result.stdout
    said = json.loads(medleak("dicom", "s", "-o", "again", "--skip-broken", "--json").stdout)
    assert (said["images"], said["broken"], said["without_patient_id"]) == (2, 1, 1)


def test_a_name_that_a_header_holds_is_refused_in_one_line_without_being_said(tmp_path):
    pytest.importorskip("pydicom", reason="the extra dicom is not installed")
    a_file(tmp_path / "s" / "normal" / "IM1", PatientName="Doe^Jane")
    a_file(tmp_path / "s" / "acc-20230815" / "IM2", AccessionNumber="ACC20230815")
    line = refused("dicom", "s", "-o", "out")
    assert "class 1 of 2 is, or holds, what AccessionNumber (0008,0050) of file 1 says" in line
    assert "20230815" not in line
    assert not Path("out").exists()
    assert "set's folder" in refused("dicom", "s", "-o", "jane-doe", "--allow-name", "acc-20230815")
    printed("dicom", "s", "-o", "out", "--allow-name", "acc-20230815")
