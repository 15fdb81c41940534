"""Tests of the commands that write images."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.inversion.cli.data.commands import TABLE, printed, refused

from medleak.custom.data.datalist import load_datalist, read_folders
from medleak.custom.phantoms import MODALITIES


def test_a_window_rewrites_images_of_more_bits_under_running_names(folder):
    for path in folder.rglob("*.png"):
        Image.fromarray(np.full((9, 9), 2048, np.uint16)).save(path)
    assert "--window" in refused("folder", folder, "--table", TABLE)
    printed("folder", folder, "--table", TABLE, "--window", "0:4096", "--out", "out")
    (item, *_) = load_datalist("out/a.json")["training"]
    assert Path(item.image).parts[-3] == "images"
    assert item.patient.startswith("p000")
    with Image.open(item.image) as image:
        assert image.getextrema() == (128, 128)


@pytest.mark.parametrize("modality", MODALITIES)
def test_phantoms_are_written_as_one_folder_a_class(modality):
    said = printed("synthetic", modality, "-n", 9, "--size", 32)
    items, names = read_folders(said["out"])
    assert len(items) == said["images"] == 9
    assert sorted(names) == sorted(MODALITIES[modality].classes)


def test_medmnist_converts_a_file_that_is_there(tmp_path):
    arrays = {}
    for part in ("train", "val", "test"):
        arrays[f"{part}_images"] = np.zeros((4, 64, 64), np.uint8)
        arrays[f"{part}_labels"] = np.array([[0], [1], [0], [1]], np.uint8)
    np.savez(tmp_path / "x.npz", **arrays)
    said = printed("medmnist", "pneumoniamnist", "--npz", "x.npz")
    assert said["out"] == "workspace/data/pneumoniamnist_64"
    assert said["licence"] == "CC BY 4.0"
    assert len(read_folders(said["out"], ["normal", "pneumonia"])[0]) == 12
