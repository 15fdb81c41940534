"""Tests of MedMNIST's files."""

import sys

import numpy as np
import pytest
from PIL import Image

from medleak.custom.data.datalist import DataError, patient_of
from medleak.custom.data.folders.classes import read_folders
from medleak.custom.datasets.convert import (
    write_pictures,
)
from medleak.custom.datasets.medmnist import SIZES, SUBSETS, download, find, pictures, side_of


def flat(value):
    return np.full((4, 4), value, np.uint8)


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


def npz(path, name, **changes):
    """A file of the form that MedMNIST publishes."""
    subset = SUBSETS[name]
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n in (("train", 6), ("val", 3), ("test", 4)):
        shape = (n, 64, 64) if subset.channels == 1 else (n, 64, 64, 3)
        arrays[f"{part}_images"] = rng.integers(0, 256, shape, dtype=np.uint8)
        labels = np.arange(n)[:, None] % len(subset.classes)
        if subset.findings:
            labels = np.zeros((n, 14), int)
            labels[::2, 3] = labels[::2, 5] = 1
        arrays[f"{part}_labels"] = labels.astype(np.uint8)
    np.savez(path, **(arrays | changes))
    return path


@pytest.mark.parametrize("name", SUBSETS)
def test_a_medmnist_file_becomes_one_folder_a_class(tmp_path, name):
    path = npz(tmp_path / "x.npz", name)
    subset = find(name.upper())
    assert write_pictures(pictures(path, subset), tmp_path / "out") == 13
    items, names = read_folders(tmp_path / "out")
    assert set(names) <= set(subset.classes)
    assert len({patient_of(i.image) for i in items}) == 13
    with np.load(path) as arrays:
        labels, images = arrays["train_labels"], arrays["train_images"]
    expected = subset.classes[int(labels[1].any() if subset.findings else labels[1, 0])]
    np.testing.assert_array_equal(read(tmp_path / "out" / expected / "p00001_00.png"), images[1])


def test_the_classes_are_medmnists_own():
    info = pytest.importorskip("medmnist", reason="the extra medmnist is not installed").INFO
    for name, subset in SUBSETS.items():
        labels = info[name]["label"]
        assert info[name]["n_channels"] == subset.channels
        assert info[name]["license"] == subset.licence
        if not subset.findings:
            assert len(labels) == len(subset.classes)
            for k, ours in enumerate(subset.classes):
                assert ours.split("_")[-1].rstrip("is") in labels[str(k)].replace(" ", "_")
        assert all(f"url_{size}" in info[name] for size in SIZES)


@pytest.mark.parametrize(
    "changes",
    [
        {"val_images": np.zeros((3, 64, 64, 3), np.uint8)},
        {"val_images": np.zeros((3, 64, 64), np.float32)},
        {"val_labels": np.array([[0], [1], [2]])},
        {"val_labels": np.array([[0], [-1], [1]])},
        {"val_labels": np.array([0, 1, 0])},
        {"val_labels": np.array([[0]])},
        {"val_labels": np.array([[object()]] * 3)},
    ],
)
def test_a_file_of_another_form_is_refused_by_name(tmp_path, changes):
    path = npz(tmp_path / "x.npz", "pneumoniamnist", **changes)
    with pytest.raises(DataError, match=r"x\.npz"):
        list(pictures(path, find("pneumoniamnist")))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x04."])
def test_a_damaged_or_missing_file_is_refused_by_name(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    for name in ("x.npz", "gone.npz"):
        with pytest.raises(DataError, match=name):
            list(pictures(tmp_path / name, find("pneumoniamnist")))


def test_a_file_that_is_there_is_not_downloaded_again(tmp_path):
    path = npz(tmp_path / "retinamnist_128.npz", "retinamnist")
    assert download("RetinaMNIST", 128, tmp_path) == path


def test_a_download_that_fails_is_one_line(tmp_path, monkeypatch):
    medmnist = pytest.importorskip("medmnist", reason="the extra medmnist is not installed")

    def fail(*args, **kwargs):
        raise RuntimeError("no route\nto host")

    monkeypatch.setattr(medmnist, "PneumoniaMNIST", fail)
    with pytest.raises(DataError, match=r"no route to host.*--npz"):
        download("pneumoniamnist", 64, tmp_path / "new")


def test_what_medmnist_does_not_have_is_refused(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="no 100 px"):
        download("pneumoniamnist", 100, tmp_path)
    with pytest.raises(DataError, match="'pathmnist'"):
        find("pathmnist")
    monkeypatch.setitem(sys.modules, "medmnist", None)
    with pytest.raises(DataError, match=r"medleak\[medmnist\]"):
        download("pneumoniamnist", 64, tmp_path)


def test_the_size_is_the_files_own(tmp_path):
    assert side_of(npz(tmp_path / "x.npz", "retinamnist"), find("retinamnist")) == 64
    odd = npz(tmp_path / "y.npz", "retinamnist", val_images=np.zeros((3, 28, 28, 3), np.uint8))
    with pytest.raises(DataError, match="square ones of one size"):
        side_of(odd, find("retinamnist"))
    (tmp_path / "z.npz").write_bytes(b"PK")
    with pytest.raises(DataError, match="is no MedMNIST file"):
        side_of(tmp_path / "z.npz", find("retinamnist"))


def test_half_a_download_is_not_taken_for_the_set_afterwards(tmp_path, monkeypatch):
    medmnist = pytest.importorskip("medmnist", reason="the extra medmnist is not installed")

    def cut(*, root, **rest):
        (tmp_path / root / "pneumoniamnist_64.npz").write_bytes(b"PK")
        raise OSError("connection lost")

    monkeypatch.setattr(medmnist, "PneumoniaMNIST", cut)
    for _ in range(2):
        with pytest.raises(DataError, match="could not be downloaded"):
            download("pneumoniamnist", 64, tmp_path / "new")
        assert not (tmp_path / "new").exists()
