"""Tests of ``medleak data``: what it prints, writes, and refuses in one line."""

from pathlib import Path

import pytest
from tests.inversion.cli.data.commands import medleak, printed, refused
from tests.places import SHARED

from medleak.custom.data.datalist import load_datalist
from medleak.custom.data.masks import read_masked
from medleak.custom.phantoms import MODALITIES

COMMANDS = ("list", "prepare", "folder", "synthetic", "medmnist", "dicom", "check")
DATA = SHARED / "data"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples_and_json(command):
    result = medleak(command, "--help")
    assert result.exit_code == 0
    assert f"medleak data {command}" in result.output
    assert "--json" in result.output


def test_images_and_masks_become_lists_for_segmentation():
    printed("synthetic", "brain_mri", "--masks", "-n", 40, "--size", 32, "--out", "mri")
    items, names = read_masked("mri")
    assert len(items) == 40
    assert names == MODALITIES["brain_mri"].classes
    assert printed("folder", "mri", "--masks", "--table", "a:1:4:4")["masks"]
    lists = load_datalist("workspace/data/mri/a.json")
    assert all(Path(item.mask).is_file() for item in lists["training"])


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("prepare", "mnist", "--root", "."), "no data set 'mnist'"),
        (("prepare", "airogs", "--root", "nowhere"), "zenodo"),
        (("prepare", "airogs"), "CC BY-NC-ND 4.0"),
        (("prepare", "cifar10"), "cs.toronto.edu"),
        (("prepare", "airogs", "--root", ".", "--limit", "3"), "--limit means nothing"),
        (("prepare", "odir2019", "--root", ".", "--scale", "0.5"), "--scale means nothing"),
        (("folder", "nowhere"), "does not exist"),
        (("folder", "scans", "--classes", "normal,sik"), "'sik'"),
        (("folder", "scans", "--table", "a:1"), "cannot be understood"),
        (("folder", "scans", "--masks"), "no folder 'images'"),
        (("folder", "scans", "--window", "low"), "no pair of numbers"),
        (("folder", "scans", "--window", "9:1"), "is empty"),
        (("folder", "scans", "--masks", "--window", "0:1"), "exclude each other"),
        (("folder", "scans", "--patient-pattern", "("), "regular expression"),
        (("folder", "scans"), "too few"),
        (("synthetic", "ultrasound"), "'ultrasound'"),
        (("synthetic", "cxr", "--masks"), "no masks"),
        (("synthetic", "cxr", "--out", "scans"), "is not empty"),
        (("medmnist", "pathmnist"), "'pathmnist'"),
        (("medmnist", "chestmnist", "--size", "100"), "no 100 px"),
        (("medmnist", "chestmnist", "--npz", "gone.npz"), "gone.npz"),
        (("dicom", "nowhere"), "does not exist"),
        (("dicom", "scans"), "holds no DICOM"),
        (("check", "gone.json"), "gone.json"),
    ],
)
def test_what_cannot_be_done_is_one_line(folder, args, said):
    assert said in refused(*args)
