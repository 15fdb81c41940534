"""Tests of the data sets that are known by name: one table runs each against one contract."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.places import SHARED

from medleak.custom.data.datalist import DataError
from medleak.custom.datasets.catalogue import DATA_SETS, find
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


@pytest.mark.parametrize(("name", "make", "counts"), FORMS)
def test_a_broken_image_is_refused_unless_it_will_be_left_out(tmp_path, name, make, counts):
    make(tmp_path)
    broken = tmp_path / read(find(name), tmp_path)[-1].image
    broken.write_bytes(b"")
    with pytest.raises(DataError, match=re.escape(broken.name)):
        read(find(name), tmp_path)
    assert len(read(find(name), tmp_path, claimed=True)) == sum(counts)


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
