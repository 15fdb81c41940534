"""Tests of decoding a set: what is broken is named, what is odd is counted in one line."""

import json

import numpy as np
import pytest
from PIL import Image
from tests.custom.contracts.dicom_modes import dicom
from typer.testing import CliRunner

from medleak.custom.data.datalist import DataError, Item, load_datalist
from medleak.custom.phantoms import listing, phantom
from medleak.inversion.cli import app
from medleak.inversion.cli.data.looking import decode_all, say_broken

TABLE = "s1:2:6:2"


def test_the_first_image_that_a_job_could_not_decode_is_named(tmp_path):
    Image.new("L", (9, 9)).save(tmp_path / "good.png")
    decode_all([Item("good.png", 0, "p")], tmp_path)
    (tmp_path / "bad.png").write_bytes((tmp_path / "good.png").read_bytes()[:40])
    with pytest.raises(DataError, match=r"bad\.png"):
        decode_all([Item("good.png", 0, "p"), Item("bad.png", 0, "q")], tmp_path)


def test_a_mask_is_decoded_with_its_image(tmp_path):
    Image.new("L", (9, 9)).save(tmp_path / "a.png")
    (tmp_path / "mask.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"mask\.png"):
        decode_all([Item("a.png", 0, "p", mask="mask.png")], tmp_path)


@pytest.fixture
def scans(tmp_path):
    """Forty sound chest images of two classes, of which a test spoils some."""
    for k, item in enumerate(listing(40, 0, "cxr")):
        path = tmp_path / "scans" / "ab"[k % 2] / f"{k:04d}_000.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(phantom("cxr", item.image, 64, 0).image).save(path)
    return tmp_path / "scans"


def spoil(path):
    path.write_bytes(path.read_bytes()[:60])


def prepare(scans, *options):
    args = ["data", "folder", str(scans), "--table", TABLE, "-o", str(scans.parent / "out")]
    return CliRunner().invoke(app, [*args, *options])


def test_a_sound_set_is_silent(scans):
    result = prepare(scans)
    assert result.exit_code == 0
    assert result.stderr == ""


def test_odd_images_are_one_line_on_stderr_and_json_stays_json(scans):
    for k in (4, 8):
        path = scans / "a" / f"{k:04d}_000.png"
        Image.fromarray(np.asarray(Image.open(path)) // 16).save(path)
    path = scans / "b" / "0001_000.png"
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    result = prepare(scans, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["images"] == {"a": 20, "b": 20}
    (line,) = result.stderr.splitlines()
    assert "2 use less than a sixteenth of the range (likely 12 bits in 16" in line
    assert "1 are negatives of the others" in line
    assert "'a/0004_000.png', 'a/0008_000.png'" in line


def test_a_broken_image_stops_everything_unless_it_may_be_left_out(scans):
    spoil(scans / "a" / "0004_000.png")
    (scans / "b" / "0005_000.png").write_bytes(b"")
    result = prepare(scans)
    assert result.exit_code == 2
    assert not (scans.parent / "out" / "dataset.json").exists()
    result = prepare(scans, "--skip-broken")
    assert result.exit_code == 0
    assert "a/0004_000.png' " in result.stderr
    assert "b/0005_000.png' holds no PNG" in result.stderr
    assert "2 broken images were left out." in result.stderr
    description = json.loads((scans.parent / "out" / "dataset.json").read_text())
    assert description["images"] == {"a": 19, "b": 19}
    assert description["broken"] == 2
    lists = load_datalist(scans.parent / "out" / "s1.json")
    used = {item.image for items in lists.values() for item in items}
    assert not [image for image in used if "0004" in image or "0005" in image]


def test_a_broken_image_does_not_cost_the_others_under_a_window(scans):
    for path in scans.rglob("*.png"):
        Image.fromarray(np.asarray(Image.open(path)).astype(np.uint16) * 16).save(path)
    spoil(scans / "a" / "0004_000.png")
    assert prepare(scans, "--window", "0:4095").exit_code == 2
    out = scans.parent / "again"
    result = prepare(scans, "--window", "0:4095", "--skip-broken", "-o", str(out))
    assert result.exit_code == 0
    assert len(list((out / "images").rglob("*.png"))) == 39
    assert "1 broken images were left out." in result.stderr


def test_a_broken_mask_leaves_its_image_out(scans):
    (scans / "images").mkdir()
    (scans / "a").rename(scans / "images" / "a")
    (scans / "b").rename(scans / "images" / "b")
    for path in (scans / "images").rglob("*.png"):
        mask = scans / "masks" / path.relative_to(scans / "images")
        mask.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.eye(64, dtype=np.uint8)).save(mask)
    (scans / "masks" / "a" / "0004_000.png").write_bytes(b"")
    spoil(scans / "masks" / "b" / "0005_000.png")
    assert prepare(scans, "--masks").exit_code == 2
    result = prepare(scans, "--masks", "--skip-broken")
    assert result.exit_code == 0, result.stderr
    description = json.loads((scans.parent / "out" / "dataset.json").read_text())
    assert description["images"] == {"a": 19, "b": 19}
    assert description["broken"] == 2


def test_a_broken_image_of_a_public_set_does_not_cost_the_others(scans):
    (scans / "a").rename(scans / "benign")
    (scans / "b").rename(scans / "malignant")
    spoil(scans / "benign" / "0004_000.png")
    (scans / "malignant" / "0005_000.png").write_bytes(b"")
    args = ["data", "prepare", "melanoma", "--root", str(scans), "--table", TABLE, "-o", "out"]
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 2
    assert "malignant/0005_000.png" in result.stderr
    assert not (scans.parent / "out").exists()
    result = CliRunner().invoke(app, [*args, "--skip-broken", "--json"])
    assert result.exit_code == 0
    assert "2 broken images were left out." in result.stderr
    said = json.loads(result.stdout)
    assert said["images"] == {"benign": 19, "malignant": 19}
    assert said["broken"] == 2
    lists = load_datalist(scans.parent / "out" / "s1.json")
    used = {item.image for items in lists.values() for item in items}
    assert not [image for image in used if "0004" in image or "0005" in image]
    result = CliRunner().invoke(app, [*args, "--skip-broken", "--no-check"])
    assert result.exit_code == 2
    assert "exclude each other" in result.stderr


def test_a_prior_is_listed_without_its_broken_images_and_never_of_none(tmp_path):
    root = tmp_path / "nih"
    root.mkdir()
    for k, item in enumerate(listing(4, 0, "cxr")):
        path = root / f"0000000{k}_000.png"
        Image.fromarray(phantom("cxr", item.image, 64, 0).image).save(path)
    args = ["data", "prepare", "chestxray14", "--root", str(root), "-o", "out", "--skip-broken"]
    (root / "00000002_000.png").write_bytes(b"")
    result = CliRunner().invoke(app, [*args, "--json"])
    assert result.exit_code == 0
    assert "1 broken images were left out." in result.stderr
    said = json.loads(result.stdout)
    assert (said["public"], said["broken"]) == (3, 1)
    for path in root.iterdir():
        path.write_bytes(b"")
    result = CliRunner().invoke(app, [*args, "-o", "none"])
    assert result.exit_code == 2
    assert "All 4 images are broken" in result.stderr
    assert not (tmp_path / "none").exists()


def test_an_image_of_a_kind_that_is_not_read_is_not_broken(scans):
    (scans / "a" / "x.nii").write_bytes(b"n+1")
    result = prepare(scans, "--skip-broken")
    assert result.exit_code == 2
    assert "is of a kind that is not read" in result.stderr


def test_leaving_out_needs_a_look(scans):
    result = prepare(scans, "--skip-broken", "--no-check")
    assert result.exit_code == 2
    assert "exclude each other" in result.stderr


def test_a_broken_dicom_file_may_be_left_out_and_odd_ones_are_said(tmp_path):
    pytest.importorskip("pydicom", reason="the extra dicom is not installed")
    (tmp_path / "in").mkdir()
    for k in range(6):
        values = np.random.default_rng(k).integers(0, 4096, (16, 16), dtype=np.uint16)
        (tmp_path / "in" / f"{k}.dcm").write_bytes(dicom(values, stored=12))
    (tmp_path / "in" / "3.dcm").write_bytes((tmp_path / "in" / "3.dcm").read_bytes()[:-100])
    flat = np.full((16, 16), 9, np.uint16)
    (tmp_path / "in" / "5.dcm").write_bytes(dicom(flat, stored=12))
    command = ["data", "dicom", str(tmp_path / "in"), "-o"]
    assert CliRunner().invoke(app, [*command, str(tmp_path / "one")]).exit_code == 2
    result = CliRunner().invoke(app, [*command, str(tmp_path / "two"), "--skip-broken"])
    assert result.exit_code == 0
    assert "3.dcm' cannot be decoded" in result.stderr
    assert "Of 5 images, 1 hold one value alone" in result.stderr
    assert len(list((tmp_path / "two").rglob("*.png"))) == 5


def test_many_broken_files_are_counted_and_ten_named(tmp_path, capsys):
    say_broken({tmp_path / f"{k}": DataError(f"{k} is broken") for k in range(12_345)})
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11
    assert lines[-1] == "medleak: 12,345 broken images were left out, 10 of them are named above."


@pytest.mark.parametrize("window", [(), ("--window", "0:255")])
def test_a_class_that_is_broken_as_a_whole_is_not_left_out(scans, window):
    for path in (scans / "b").iterdir():
        spoil(path)
    result = prepare(scans, "--skip-broken", *window)
    assert result.exit_code == 2
    assert "All images of class 'b' are broken (1 of 2 classes)" in result.stderr
    assert not (scans.parent / "out").exists()
