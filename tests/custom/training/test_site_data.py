"""Tests of medleak.custom.training.site_data."""

import json

import pytest
from PIL import Image

from medleak.custom.data.datalist import DataError
from medleak.custom.data.masks import load_masks
from medleak.custom.sites.split import Site
from medleak.custom.training.site_data import Source, site_lists

CLASSES = ("normal", "pneumonia")
TABLE = (Site("a", 2, 4, 4), Site("b", 1, 1, 4, shares="a"))


@pytest.fixture(autouse=True)
def no_variable(monkeypatch):
    monkeypatch.delenv("MEDLEAK_DATA", raising=False)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "data"
    for label, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for k in range(30):
            image = Image.new("L", (40, 40), 8 * k + label)
            image.save(root / name / f"{100 * label + k:05d}_000.png")
    return root


def names(lists):
    return {section: [item.image for item in items] for section, items in lists.items()}


def test_phantoms_are_drawn_where_no_data_are_named(tmp_path):
    lists = site_lists(Source(classes=CLASSES, table=TABLE, scale=1), "a", tmp_path / "a")
    assert [len(lists[s]) for s in ("training", "validation")] == [4, 4]
    assert lists["test"]
    for items in lists.values():
        for item in items:
            with Image.open(item.image) as image:
                assert image.size == (64, 64)


def test_a_site_that_shares_trains_on_an_image_of_its_host(tmp_path, folder):
    source = Source(classes=CLASSES, table=TABLE, scale=1, data_root=folder)
    host, guest = (names(site_lists(source, s, tmp_path / s)) for s in ("a", "b"))
    assert guest["training"][0] in host["training"]
    assert "/normal/" in guest["training"][0]
    assert guest["validation"] == host["validation"]
    assert not set(host["test"]) & {*host["training"], *host["validation"]}


def test_the_variable_names_the_folder_and_phantoms_share_like_real_data(
    tmp_path, folder, monkeypatch
):
    monkeypatch.setenv("MEDLEAK_DATA", str(folder))
    lists = site_lists(Source(classes=CLASSES, table=TABLE, scale=1), "a", tmp_path / "a")
    assert all(item.image.startswith(str(folder)) for item in lists["training"])


def test_the_first_call_decides_for_the_whole_run(tmp_path, folder):
    source = Source(classes=CLASSES, table=TABLE, scale=1, data_root=folder)
    first = site_lists(source, "a", tmp_path / "run")
    for image in folder.glob("*/*"):
        image.rename(image.with_name(f"9{image.name}"))
    assert site_lists(source, "a", tmp_path / "run") == first
    assert json.loads((tmp_path / "run" / "datalist.json").read_text())["training"]


def test_a_site_of_a_real_federation_brings_its_own_datalist(tmp_path, folder):
    image = next(folder.glob("normal/*"))
    own = {"training": [{"image": str(image.relative_to(folder)), "label": 0}]}
    (tmp_path / "own.json").write_text(json.dumps(own))
    source = Source(classes=CLASSES, dataset_json=tmp_path / "own.json", data_root=folder)
    lists = site_lists(source, "hospital-x", tmp_path / "run")
    assert names(lists) == {"training": [str(image)], "validation": [], "test": []}


@pytest.mark.parametrize(
    ("change", "site", "message"),
    [
        ({"data_root": "nowhere"}, "a", "does not exist"),
        ({}, "c", "'c' is not in the table"),
        ({"classes": ("glioma", "none")}, "a", "phantoms of .*not of"),
        ({"dataset_json": "missing.json"}, "a", "cannot be read"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_writes_nothing(tmp_path, change, site, message):
    given = {"classes": CLASSES, "table": TABLE, "scale": 1} | change
    with pytest.raises(DataError, match=message) as caught:
        site_lists(Source(**given), site, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_label_beyond_the_classes_is_refused_by_its_place(tmp_path, folder):
    image = next(folder.glob("normal/*"))
    bad = {"training": [{"image": str(image), "label": 2}]}
    (tmp_path / "own.json").write_text(json.dumps(bad))
    source = Source(classes=CLASSES, dataset_json=tmp_path / "own.json")
    with pytest.raises(DataError, match=r"training\[0\]"):
        site_lists(source, "a", tmp_path / "run")


@pytest.mark.parametrize(
    ("modality", "classes", "mode"),
    [
        ("fundus", ("normal", "glaucoma"), "RGB"),
        ("brain_mri", ("glioma", "meningioma", "notumor", "pituitary"), "L"),
        ("dermoscopy", ("malignant", "benign"), "RGB"),
    ],
)
def test_phantoms_show_the_modality_and_the_classes_that_are_asked_for(
    tmp_path, modality, classes, mode
):
    source = Source(classes=classes, table=TABLE, scale=1, modality=modality, spatial_size=(32, 32))
    lists = site_lists(source, "a", tmp_path / "a")
    assert not any(item.mask for item in lists["training"])
    for item in lists["training"] + lists["test"]:
        assert item.image.split("/")[-2] == classes[item.label]
        with Image.open(item.image) as image:
            assert (image.mode, image.size) == (mode, (32, 32))


def test_phantoms_come_with_masks_where_they_are_asked_for(tmp_path):
    source = Source(classes=("glioma",), table=TABLE, scale=1, modality="brain_mri", masks=True)
    items = site_lists(source, "a", tmp_path / "a")["training"]
    masks = load_masks(items, spatial_size=(64, 64))
    assert (masks.mean((1, 2, 3)) > 0.005).all()


def test_a_folder_of_images_and_masks_is_split_with_its_masks(tmp_path):
    for part in ("images", "masks"):
        (tmp_path / "data" / part).mkdir(parents=True)
        for k in range(16):
            Image.new("L", (8, 8), 200).save(tmp_path / "data" / part / f"{k:03d}_00.png")
    source = Source(classes=("all",), table=TABLE, scale=1, masks=True, data_root=tmp_path / "data")
    lists = site_lists(source, "a", tmp_path / "a")
    assert [len(lists[section]) for section in ("training", "validation", "test")] == [4, 4, 8]
    for item in lists["training"]:
        assert item.mask == item.image.replace("/images/", "/masks/")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modality": "mri"}, "no phantoms of modality 'mri'"),
        ({"masks": True}, "cxr phantoms have no masks"),
    ],
)
def test_phantoms_that_do_not_exist_are_refused(tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        site_lists(Source(classes=CLASSES, **change), "a", tmp_path / "run")


def test_a_datalist_with_a_patient_in_two_sections_is_refused_by_place(tmp_path, folder):
    images = sorted(folder.glob("normal/*"))[:2]
    entries = [{"image": str(path), "label": 0, "patient": "7"} for path in images]
    own = {"training": entries[:1], "validation": entries[1:]}
    (tmp_path / "own.json").write_text(json.dumps(own))
    source = Source(classes=CLASSES, dataset_json=tmp_path / "own.json")
    with pytest.raises(DataError, match=r"validation\[0\] is of the same patient.*training\[0\]"):
        site_lists(source, "a", tmp_path / "run")


def test_what_of_a_list_is_not_used_is_in_the_log_without_a_name(folder, tmp_path, caplog):
    entry = {"image": str(next(folder.rglob("*.png"))), "label": 0}
    sections = {"training": [entry], "testing": ["secret.png", {"image": "other.png"}]}
    (tmp_path / "own.json").write_text(json.dumps(sections))
    site_lists(Source(classes=CLASSES, dataset_json=tmp_path / "own.json"), "a", tmp_path / "run")
    assert "a: not used: 2 test images without a label" in caplog.text
    assert "secret" not in caplog.text
