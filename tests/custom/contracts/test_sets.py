"""Tests of the data sets that are known by name: one table runs each against one contract."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.places import SHARED

from medleak.custom.data.datalist import DataError
from medleak.custom.datasets import airogs, cifar10
from medleak.custom.datasets.catalogue import DATA_SETS, find, overview
from medleak.custom.datasets.dataset import read
from medleak.custom.phantoms import MODALITIES

DATA = SHARED / "data"


def picture(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def airogs_form(root):
    rows = ["challenge_id,class"]
    for k in range(6):
        picture(root / str(k % 2) / f"TRAIN{k:06d}.jpg", k)
        rows.append(f"TRAIN{k:06d},{'RG' if k < 2 else 'NRG'}")
    (root / "train_labels.csv").write_text("\n".join(rows) + "\n")


def folders_form(*folders, masks=False):
    def make(root):
        for k, folder in enumerate(folders):
            picture(root / folder / f"x-{k}.png", k)
            if masks:
                picture(root / Path(folder).parent / "masks" / f"x-{k}.png")

    return make


# Set, how its archive unpacks, images of each class in it.
FORMS = [
    (
        "covid19_radiography",
        folders_form(
            *(
                f"COVID-19_Radiography_Dataset/{name}/images"
                for name in ("COVID", "Normal", "Lung_Opacity", "Viral Pneumonia")
            ),
            masks=True,
        ),
        [1, 1],
    ),
    ("covid19_radiography", folders_form("COVID", "Normal"), [1, 1]),
    ("airogs", airogs_form, [4, 2]),
    (
        "chestxray14",
        lambda root: [
            picture(root / "images_001" / "images" / f"0000000{k}_000.png") for k in (1, 2, 3)
        ],
        [3],
    ),
    (
        "odir2019",
        lambda root: [picture(root / "Training" / f"4_{s}.jpg") for s in ("left", "right")],
        [2],
    ),
    (
        "melanoma",
        folders_form(
            *(
                f"melanoma_cancer_dataset/{half}/{name}"
                for half in ("train", "test")
                for name in ("benign", "malignant")
            )
        ),
        [2, 2],
    ),
    (
        "covid19_xray",
        folders_form(
            *(
                f"Covid19-dataset/{half}/{name}"
                for half in ("train", "test")
                for name in ("Covid", "Normal", "Viral Pneumonia")
            )
        ),
        [2, 2, 2],
    ),
    (
        "brain_tumor_mri",
        folders_form(
            *(
                f"{half}/{name}"
                for half in ("Training", "Testing")
                for name in ("glioma", "meningioma", "notumor", "pituitary")
            )
        ),
        [2, 2, 2, 2],
    ),
    ("cifar10", folders_form(*DATA_SETS["cifar10"].classes), [1] * 10),
]


@pytest.mark.parametrize(("name", "make", "counts"), FORMS)
def test_each_set_is_read_in_the_form_in_which_its_archive_unpacks(tmp_path, name, make, counts):
    make(tmp_path)
    items = read(find(name), tmp_path)
    found = Counter(item.label for item in items)
    assert [found[k] for k in range(len(counts))] == counts
    assert len(counts) == len(find(name).classes)
    for item in items:
        assert (tmp_path / item.image).is_file()
        assert "masks" not in item.image
    assert len({item.image for item in items}) == len(items)


def test_every_set_has_a_test_of_its_form():
    assert {name for name, *_ in FORMS} == set(DATA_SETS)


@pytest.mark.parametrize("name", DATA_SETS)
def test_a_missing_root_is_one_line_that_says_where_to_get_the_set(name, tmp_path):
    known = find(name)
    for root in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(DataError) as caught:
            read(known, root)
        message = str(caught.value)
        assert "\n" not in message
        for part in (str(root), known.source, known.licence, known.form):
            assert part in message


@pytest.mark.parametrize("name", DATA_SETS)
def test_every_set_says_what_a_user_must_know(name):
    known = find(name)
    assert set(known.counts) == set(known.classes)
    assert min(known.counts.values()) > 0
    assert re.match("https://", known.source)
    assert known.modality in {*MODALITIES, "natural"}
    assert known.channels in (1, 3)
    assert known.patients


def test_published_counts_are_the_papers():
    # MedPFL Table I says 317 and 7022; the last is one less than the set's page.
    total = {name: sum(known.counts.values()) for name, known in DATA_SETS.items()}
    assert total["covid19_xray"] == 317
    assert total["brain_tumor_mri"] == 7022 + 1
    assert total["melanoma"] == 10605
    assert total["airogs"] == 101442
    assert total["cifar10"] == 60000


def test_the_test_lists_of_tmi_are_as_long_as_in_its_table_ii():
    assert {name: known.test for name, known in DATA_SETS.items() if known.test} == {
        "covid19_radiography": 1382,
        "airogs": 10145,
    }


def test_medpfls_sets_go_to_sites_that_send_the_gradient_of_one_image_or_a_few():
    for name, known in DATA_SETS.items():
        if known.use.startswith("MedPFL"):
            assert {site.training for site in known.table} == {1, 4, 8}, name
            assert all(site.training == site.batch_size for site in known.table)


def test_without_a_root_the_set_says_where_to_get_it():
    with pytest.raises(DataError, match=r"No --root .* Get it from https.* \(licence: "):
        read(find("airogs"), None)


def test_the_overview_names_each_set_once_with_its_command():
    rows = overview()
    assert len({row["name"] for row in rows}) == len(rows)
    for row in rows:
        assert row["command"].startswith("medleak data ")
        assert row["licence"]
    assert {row["modality"] for row in rows if "synthetic" in row["name"]} == set(MODALITIES)


def test_an_unknown_set_is_refused_with_those_there_are():
    with pytest.raises(DataError, match=r"'mnist'.*airogs.*medleak data folder"):
        find("mnist")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("challenge_id,class\nTRAIN000000,GR\n", "label 'GR' in line 2, which is none of NRG, RG"),
        ("id,class\nTRAIN000000,RG\n", "without the columns"),
        ("challenge_id,class\nTRAIN000001,RG\n", "without a row"),
        ("", "without a row"),
    ],
)
def test_a_table_of_labels_that_does_not_fit_is_refused(tmp_path, content, message):
    picture(tmp_path / "0" / "TRAIN000000.jpg")
    (tmp_path / "train_labels.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        read(airogs.SET, tmp_path)


def test_the_table_of_labels_may_lie_beside_the_folder_of_images(tmp_path):
    airogs_form(tmp_path / "images")
    (tmp_path / "images" / "train_labels.csv").rename(tmp_path / "train_labels.csv")
    assert len(read(airogs.SET, tmp_path / "images")) == 6


def test_patients_of_the_priors_are_in_their_file_names(tmp_path):
    for name in ("00000001_000", "00000001_001", "00000002_000"):
        picture(tmp_path / f"{name}.png")
    items = read(find("chestxray14"), tmp_path)
    assert [item.patient for item in items] == ["00000001", "00000001", "00000002"]


def batch(path, labels):
    path.parent.mkdir(parents=True, exist_ok=True)
    records = np.zeros((len(labels), 3073), np.uint8)
    records[:, 0] = labels
    for k in range(len(labels)):
        records[k, 1:1025], records[k, 1025:2049], records[k, 2049:] = 10 * k, 20, 30
    path.write_bytes(records.tobytes())


def test_binary_batches_of_cifar_become_images_in_a_folder_a_class(tmp_path):
    batch(tmp_path / "cifar-10-batches-bin" / "data_batch_1.bin", range(10))
    root = cifar10.unpack(tmp_path, tmp_path / "out")
    items = read(cifar10.SET, root)
    assert [item.label for item in items] == list(range(10))
    with Image.open(root / items[2].image) as image:
        assert image.getpixel((31, 31)) == (20, 20, 30)
    assert items[2].image == "bird/data_batch_1_00002.png"


def test_a_damaged_batch_is_refused_by_name(tmp_path):
    batch(tmp_path / "test_batch.bin", [3])
    with (tmp_path / "test_batch.bin").open("ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match=r"'test_batch.bin' is damaged"):
        cifar10.unpack(tmp_path, tmp_path / "out")
    batch(tmp_path / "test_batch.bin", [10])
    with pytest.raises(DataError, match="is damaged"):
        cifar10.unpack(tmp_path, tmp_path / "out")


def test_cifar_as_pickles_is_refused_and_not_read(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"\x80\x04.")
    with pytest.raises(DataError, match="binary version"):
        cifar10.unpack(tmp_path, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "folder", "images"),
    [
        ("melanoma", "melanoma", 600),
        ("brain_tumor_mri", "brain_mri", 597),
        ("covid19_xray", "cxr", 871),
        ("cifar10", "cifar10", 100),
        ("odir2019", "fundus", 601),
        ("chestxray14", "cxr", 771),
    ],
)
def test_the_small_real_sets_are_read_by_the_names_whose_form_they_have(name, folder, images):
    if not (DATA / folder).is_dir():
        pytest.skip(f"{DATA / folder} is missing: set MEDLEAK_SHARED to the real images")
    assert len(read(find(name), DATA / folder)) == images
