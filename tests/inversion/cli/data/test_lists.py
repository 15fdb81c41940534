"""Tests of the commands that write and check lists."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.inversion.cli.data.commands import TABLE, medleak, printed, refused
from tests.places import SHARED
from typer.testing import CliRunner

from medleak.custom.data.datalist import load_datalist
from medleak.custom.datasets.catalogue import DATA_SETS
from medleak.custom.phantoms import MODALITIES
from medleak.inversion.cli import app

DATA = SHARED / "data"


def test_list_names_every_set_with_source_and_licence():
    rows = {row["name"]: row for row in printed("list")}
    assert set(rows) >= set(DATA_SETS) | {f"synthetic {m}" for m in MODALITIES}
    result = medleak("list")
    for name, known in DATA_SETS.items():
        assert name in result.output
        assert known.licence in result.output
        assert known.source in result.output


def test_folder_writes_the_lists_of_each_site(folder):
    said = printed("folder", folder, "--table", TABLE, "--out", "out")
    assert said["images"] == {"normal": 25, "sick": 25}
    assert said["patients"] == 26
    assert said["classes"] == ["normal", "sick"]
    lists = load_datalist("out/a.json", num_classes=2)
    assert [len(lists[s]) for s in ("training", "validation", "test")] == [4, 4, 4]
    assert Path(lists["training"][0].image).is_file()


def test_folder_says_in_words_what_it_did_and_what_is_next(folder):
    result = medleak("folder", folder, "--table", TABLE)
    assert result.exit_code == 0, result.output
    assert "workspace/data/scans: scans, 25 normal, 25 sick, 26 patients" in result.output
    assert "b: 1 training, 4 validation" in result.output
    command = f"python jobs/job.py cxr_clean --classes normal sick --table {TABLE}"
    assert f"next: MEDLEAK_DATA=workspace/data/scans {command}\n" in result.output


def test_classes_can_be_ordered_and_patients_named_by_a_pattern(folder):
    said = printed(
        *("folder", folder, "--table", TABLE, "--classes", "sick,normal"),
        *("--patient-pattern", "no name is like this", "--test", 0),
    )
    assert said["classes"] == ["sick", "normal"]
    assert said["patients"] == 50
    assert said["test"] == 0


def test_a_bad_image_is_named_to_the_user_and_nothing_is_written(folder):
    (folder / "sick" / "bad.png").write_bytes((folder / "sick" / "00100_000.png").read_bytes()[:40])
    assert "bad.png" in refused("folder", folder, "--table", TABLE, "--out", "out")
    assert not Path("out").exists()
    assert medleak("folder", folder, "--table", TABLE, "--no-check").exit_code == 0


def test_a_prepared_set_says_where_its_counts_differ(tmp_path):
    for name in ("benign", "malignant"):
        printed("synthetic", "dermoscopy", "-n", 40, "--size", 16, "--out", f"draw-{name}")
        Path(f"draw-{name}", name).rename(tmp_path / name)
    said = printed("prepare", "melanoma", "--root", ".", "--table", TABLE)
    assert said["differs"]["benign"] == {"found": 20, "published": 5500}
    assert said["licence"] == DATA_SETS["melanoma"].licence
    result = medleak("prepare", "melanoma", "--root", ".", "--table", TABLE)
    assert "20 images here, 5500 published" in result.output


def test_a_prior_becomes_one_list_that_medleak_prior_reads(tmp_path):
    for k in range(6):
        pixels = np.arange(256, dtype=np.uint8).reshape(16, 16) - np.uint8(10 * k)
        Image.fromarray(pixels).save(tmp_path / f"0000000{k}_000.png")
    said = printed("prepare", "chestxray14", "--root", ".", "--limit", 4)
    assert said["public"] == 4
    arguments = ["prior", "--data", f"{said['out']}/public.json", "-o", "p.png", "--size", "16"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    with Image.open("p.png") as image:
        assert image.size == (16, 16)


def test_cifar_is_unpacked_from_its_binary_batches(tmp_path):
    records = np.random.default_rng(0).integers(0, 256, (60, 3073), dtype=np.uint8)
    records[:, 0] = np.arange(60) % 10
    (tmp_path / "data_batch_1.bin").write_bytes(records.tobytes())
    said = printed("prepare", "cifar10", "--root", ".", "--table", "a:1:10:10")
    assert set(said["images"].values()) == {6}
    assert Path(said["out"], "images", "ship").is_dir()


def test_check_counts_sound_lists_and_refuses_a_patient_in_two_sites(folder):
    printed("folder", folder, "--table", "a:2:4:4,c:2:4:4", "--out", "out")
    said = printed("check", "out/a.json", "out/c.json", "--num-classes", 2)
    assert said["out/a.json"] == {"training": 4, "validation": 4, "test": 4}
    assert "2 training" not in medleak("check", "out/a.json").output
    content = json.loads(Path("out/c.json").read_text())
    content["training"].append(json.loads(Path("out/a.json").read_text())["training"][0])
    Path("out/c.json").write_text(json.dumps(content))
    assert "same patient" in refused("check", "out/a.json", "out/c.json")


@pytest.mark.parametrize(
    ("command", "data"),
    [
        (("folder",), "fundus"),
        (("prepare", "melanoma", "--root"), "melanoma"),
        (("prepare", "brain_tumor_mri", "--root"), "brain_mri"),
    ],
)
def test_the_real_sets_are_split_without_a_patient_in_two_sites(command, data):
    if not (DATA / data).is_dir():
        pytest.skip(f"{DATA / data} is missing: set MEDLEAK_SHARED to the real images")
    said = printed(*command, DATA / data, "--no-check", "--out", "out")
    assert sum(said["images"].values()) > 500
    lists = [f"out/{site}.json" for site in said["sites"]]
    assert set(printed("check", *lists, "--no-check")) == set(lists)
