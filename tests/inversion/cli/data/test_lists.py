"""Tests of the commands that write and check lists."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
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
    result = medleak("folder", folder, "--table", TABLE, "--no-check")
    assert result.exit_code == 0
    assert "27 patients (by file name; 1 of 51 tell none and count as one each); not decoded (" in (
        result.stdout
    )
    assert printed("folder", folder, "--table", TABLE, "--no-check")["decoded"] is False


def test_a_prepared_set_says_where_its_counts_differ(tmp_path):
    for name in ("benign", "malignant"):
        printed("synthetic", "dermoscopy", "-n", 40, "--size", 16, "--out", f"draw-{name}")
        Path(f"draw-{name}", name).rename(tmp_path / name)
    said = printed("prepare", "melanoma", "--root", ".", "--table", TABLE)
    assert said["differs"]["benign"] == {"found": 20, "published": 5500}
    assert said["licence"] == DATA_SETS["melanoma"].licence
    result = medleak("prepare", "melanoma", "--root", ".", "--table", TABLE)
    assert "20 images here, 5500 published" in result.output
    assert "not decoded" not in result.output
    (tmp_path / "benign" / "broken.png").write_bytes(b"")
    arguments = ("prepare", "melanoma", "--root", ".", "--table", TABLE, "-o", "o")
    said = json.loads(medleak(*arguments, "--skip-broken", "--json").stdout)
    assert said["differs"]["benign"] == {"found": 21, "published": 5500}
    assert said["images"]["benign"] == 20


def test_a_prior_becomes_one_list_that_medleak_prior_reads(tmp_path):
    for k in range(6):
        pixels = np.arange(256, dtype=np.uint8).reshape(16, 16) - np.uint8(10 * k)
        Image.fromarray(pixels).save(tmp_path / f"0000000{k}_000.png")
    said = printed("prepare", "chestxray14", "--root", ".", "--limit", 4)
    assert said["public"] == 4
    assert [n["found"] for n in said["differs"].values()] == [6]
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


def test_check_takes_a_folder_of_lists_and_misses_none(folder):
    printed("folder", folder, "--table", "a:2:4:4,c:2:4:4", "--out", "out")
    assert list(printed("check", "out", "--num-classes", 2)) == ["out/a.json", "out/c.json"]
    Path("out/c.json").rename("elsewhere.json")
    assert "lacks c.json" in refused("check", "out")
    Path("out/dataset.json").unlink()
    assert list(printed("check", "out")) == ["out/a.json"]
    Path("empty").mkdir()
    assert "holds no list" in refused("check", "empty")
    Path("out/a.json").rename("out/dataset.json")  # as a decathlon calls its list
    assert list(printed("check", "out")) == ["out/dataset.json"]
    Path("out/dataset.json").write_text("{")
    assert "dataset.json" in refused("check", "out")


def write_list(path, *entries, **sections):
    listed = [{"image": image, "label": label, **more} for image, label, more in entries]
    Path(path).write_text(json.dumps({"training": listed, **sections}))


@pytest.mark.parametrize("other", ["a.png", "sub/../a.png", "link.png", "{here}/a.png"])
def test_one_image_under_two_names_or_patients_is_not_in_two_sites(tmp_path, other):
    noise(0).save("a.png")
    noise(1).save("b.png")
    Path("sub").mkdir()
    Path("link.png").symlink_to(tmp_path / "a.png")
    write_list("one.json", ("a.png", 0, {"patient": "p"}))
    write_list("two.json", (other.format(here=tmp_path), 0, {"patient": "q"}))
    assert "same image as one.json: training[0]" in refused("check", "one.json", "two.json")
    write_list("two.json", ("b.png", 0, {"patient": "q"}))
    assert medleak("check", "one.json", "two.json").exit_code == 0
    write_list("both.json", ("a.png", 0, {}), (other.format(here=tmp_path), 1, {}))
    assert "has another label" in refused("check", "both.json")
    write_list("both.json", ("a.png", 0, {}), (other.format(here=tmp_path), 0, {}))
    assert "1 name an image that another entry names" in medleak("check", "both.json").stdout


def test_check_says_what_it_did_not_compare(tmp_path):
    for k in range(3):
        noise(k).save(f"{k}.png")
    Image.new("L", (9, 9)).save("mask.png")
    more = [{"patient": "p"}, {}, {"mask": "mask.png"}]
    write_list("x.json", *((f"{k}.png", 7 * (k == 2), more[k]) for k in range(3)))
    result = medleak("check", "x.json")
    assert "labels 0, 7, not compared with a number of classes" in result.stdout
    assert "2 of 3 tell no patient" in result.stdout
    assert "2 of 3 have no mask" in result.stdout
    result = medleak("check", "x.json", "--json", "--no-check")
    said = json.loads(result.stdout)["x.json"]
    assert said["not_examined"][0] == "not decoded (--no-check)"
    assert len(said["not_examined"]) == 4
    entry = {"patient": "p", "mask": "mask.png"}
    write_list("x.json", *((f"{k}.png", k, entry) for k in range(2)))
    result = medleak("check", "x.json", "--num-classes", 2)
    assert result.stdout == "x.json: 2 training, 0 validation, 0 test\n"
    assert printed("check", "x.json", "--num-classes", 2)["x.json"]["training"] == 2
    assert result.stderr == ""


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


def noise(seed):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (9, 9), dtype=np.uint8))


def put(*files):
    for k, file in enumerate(files):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        noise(k).save(file)


def split_set(root):
    for part, n in (("train", 10), ("test", 6)):
        for name in ("NORMAL", "SICK"):
            put(*(f"{root}/{part}/{name}/{part}{name}{k}.png" for k in range(n)))
    return root


def test_a_split_is_refused_and_the_option_that_is_named_works():
    root = split_set("xrays")
    assert "--layout parts" in refused("folder", root, "--table", TABLE)
    said = printed("folder", root, "--table", TABLE, "--layout", "parts")
    assert said["images"] == {"NORMAL": 16, "SICK": 16}


def test_masks_in_each_class_are_refused_and_the_options_that_are_named_work():
    for name in ("a", "b"):
        for kind in ("images", "masks"):
            put(*(f"set/{name}/{kind}/{name}{k}.png" for k in range(12)))
    line = refused("folder", "set", "--table", TABLE)
    assert "--masks to segment, or --leave-out masks" in line
    said = printed("folder", "set", "--table", TABLE, "--leave-out", "masks", "-o", "c")
    assert said["images"] == {"a": 12, "b": 12}
    assert said["left_out"] == {"left out by --leave-out": 24}
    said = printed("folder", "set", "--table", TABLE, "--masks", "-o", "s")
    assert said["masks"] is True
    assert load_datalist("s/a.json")["training"][0].mask.endswith(
        "masks/" + Path(load_datalist("s/a.json")["training"][0].image).name
    )


def test_a_table_gives_the_classes_and_what_is_not_used_is_said():
    put(*(f"scans/images/{k}.png" for k in range(30)))
    rows = "".join(f"{k}.png,{'ab'[k % 2]},P{k // 2}\n" for k in range(28))
    Path("scans/labels.csv").write_text("image,label,patient\n" + rows)
    assert "--labels" in refused("folder", "scans", "--table", TABLE)
    arguments = ("folder", "scans/images", "--table", TABLE, "--labels", "scans/labels.csv")
    said = printed(*arguments)
    assert said["images"] == {"a": 14, "b": 14}
    assert said["patients"] == 14
    assert said["patients_by"] == "by the column 'patient'"
    result = medleak(*arguments)
    assert "not used: 2 images in no row of the table" in result.stdout


def test_too_few_patients_are_said_with_how_they_were_told():
    for c in (0, 1):
        put(*(f"s/c{c}/{c}_{k:04d}.png" for k in range(30)))
    line = refused("folder", "s", "--table", TABLE)
    assert "2 patients (one of them, '0', has 30 images, such as 'c0/0_0000.png')" in line
    assert "--patient-pattern" in line
    assert printed("folder", "s", "--table", TABLE, "--patients", "file")["patients"] == 60


def test_a_name_that_a_comment_holds_is_refused_without_being_said(folder):
    path = next((folder / "sick").glob("*.png"))
    (folder / "sick").rename(folder / "zx7731904")
    path = folder / "zx7731904" / path.name
    text = PngImagePlugin.PngInfo()
    text.add_text("Patient", "of ZX-7731904")
    noise(0).save(path, pnginfo=text)
    line = refused("folder", folder, "--table", TABLE)
    assert "The name of class 2 of 2 is, or holds, what a PNG text of file" in line
    assert "7731904" not in line
    assert not Path("workspace").exists()
    printed("folder", folder, "--table", TABLE, "--allow-name", "zx7731904")


def test_a_site_or_a_folder_named_after_a_patient_is_refused(folder):
    exif = Image.Exif()
    exif[0x013B] = "Quexley, Ornella"
    noise(0).save(next((folder / "sick").glob("*.png")), exif=exif)
    table = "ornella-quexley:2:4:4,b:1:1:4:ornella-quexley"
    assert "The name of site 1 of 2" in refused("folder", folder, "--table", table)
    folder.rename("quexley")
    assert "The name of the set's folder" in refused("folder", "quexley", "--table", TABLE)


def test_what_would_be_read_as_a_class_the_next_time_is_not_written(folder):
    line = refused("folder", folder, "--table", TABLE, "--out", folder / "lists")
    assert "lies inside" in line
    before = sorted(folder.rglob("*"))
    line = refused("folder", folder, "--table", TABLE, "--window", "0:255", "--out", folder)
    assert "is the folder that is read" in line
    assert sorted(folder.rglob("*")) == before


def test_a_list_of_testing_images_is_read_and_of_other_names_is_refused(folder):
    entry = {"image": str(next((folder / "sick").glob("*.png"))), "label": 1}
    other = {"image": str(next((folder / "normal").glob("*.png"))), "label": 0}
    sections = {"training": [entry], "testing": [other, {"image": "unlabelled.png"}, "x.png"]}
    Path("list.json").write_text(json.dumps(sections))
    result = medleak("check", "list.json")
    assert result.exit_code == 0, result.output
    assert "list.json: 1 training, 0 validation, 1 test" in result.stdout
    assert "not used of list.json: 2 test images without a label" in result.stderr
    for name, right in (("val", "validation"), ("fold_0", "training, validation, test")):
        Path("list.json").write_text(json.dumps({"training": [entry], name: [other]}))
        line = refused("check", "list.json")
        assert f"section {name!r} is not read, so its 1 images would be passed over" in line
        assert f"Call it {right}" in line


def test_a_list_without_an_image_was_not_checked(folder):
    Path("empty.json").write_text('{"training": []}')
    result = medleak("check", "empty.json")
    assert result.exit_code == 3
    assert "names no image" in result.stderr
    assert "not decoded (--no-check)" in medleak("check", "empty.json", "--no-check").stdout
