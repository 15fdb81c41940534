import numpy as np
import pytest
import torch
from tests.inversion.membership.federations import asked

from medleak.custom.data.datalist import Item, load_datalist, save_datalist
from medleak.inversion.membership.assessment import Group
from medleak.inversion.membership.lists import (
    check_apart,
    check_public,
    fingerprints,
    held_out,
    load_group,
    near_copies,
    trained_on,
    within,
)

PICTURE = ((32, 32), 1)


@pytest.fixture
def case(tmp_path):
    return asked(tmp_path)


def group(*values, patients=None):
    images = torch.tensor(values, dtype=torch.float32).view(-1, 1, 1, 1)
    return Group(images=images, labels=None, patients=tuple(patients or [f"p{v}" for v in values]))


def test_members_are_known_by_their_pixels(case):
    candidates = load_group(case.candidates, PICTURE, "candidates")
    member = within(candidates, trained_on(case.truth / "site-1.json", PICTURE))
    assert member.tolist() == [True] * 6 + [False] * 14
    assert candidates.labels is not None


def test_a_folders_classes_are_no_labels(case):
    folder = case.candidates.parent / "images" / "others"
    assert load_group(folder, PICTURE, "candidates").labels is None


def test_an_image_twice_is_refused_by_its_place(case, tmp_path):
    items = load_datalist(case.candidates)["training"]
    save_datalist(tmp_path / "twice.json", {"training": [*items, items[2]]})
    with pytest.raises(ValueError, match=r"1 images twice, first candidates\[20\]") as caught:
        load_group(tmp_path / "twice.json", PICTURE, "candidates")
    assert "Doe" not in str(caught.value)


def test_a_list_of_nobody_is_refused(tmp_path):
    save_datalist(tmp_path / "empty.json", {"training": []})
    with pytest.raises(ValueError, match="candidates holds no image"):
        load_group(tmp_path / "empty.json", PICTURE, "candidates")


def test_held_out_are_images_of_patients_not_trained_on(case, tmp_path):
    items = load_datalist(case.nonmembers)["training"]
    same = Item(items[1].image, 0, items[0].patient)
    lists = {"training": items[:1], "validation": [same, items[2]], "test": [items[3]]}
    save_datalist(tmp_path / "site.json", lists)
    found = held_out(tmp_path / "site.json", PICTURE)
    assert found is not None
    assert found.patients == (items[2].patient, items[3].patient)
    save_datalist(tmp_path / "site.json", {"training": items[:1]})
    assert held_out(tmp_path / "site.json", PICTURE) is None


@pytest.mark.parametrize(
    ("nonmembers", "trained", "why"),
    [
        (group(1, 5, patients=["x", "y"]), set(), "both candidates and certain"),
        (group(5, 6, patients=["p1", "y"]), set(), "1 patients have images both"),
        (group(5, 6), set(fingerprints(group(6).images)), "own training list"),
    ],
)
def test_non_members_that_are_not_certain_are_refused(nonmembers, trained, why):
    with pytest.raises(ValueError, match=why):
        check_apart(group(1, 2), nonmembers, trained)


def test_lists_apart_are_accepted():
    check_apart(group(1, 2), group(3, 4), set(fingerprints(group(1).images)))
    check_apart(group(1, 2), group(3, 4), None)
    with pytest.raises(ValueError, match="own training list"):
        check_apart(group(1, 2), group(3, 4), set(fingerprints(group(4).images)))


@pytest.mark.parametrize(
    ("public", "why"),
    [
        (group(2, 5), "1 images and 1 patients of the references"),
        (group(5, 6, patients=["p4", "y"]), "0 images and 1 patients of the references"),
        (group(5, 7), "own training list"),
    ],
)
def test_references_that_are_not_public_are_refused(public, why):
    trained = set(fingerprints(group(1, 7).images))
    with pytest.raises(ValueError, match=why):
        check_public(public, (group(1, 2), group(3, 4)), trained)
    assert check_public(group(5, 6), (group(1, 2), group(3, 4)), trained) is None


def test_an_image_that_was_saved_anew_is_a_copy_and_another_film_is_none():
    films = torch.rand(6, 1, 80, 80, generator=torch.Generator().manual_seed(0))
    member = np.arange(10) < 3
    coarse = (films[:1] * 32).round() / 32
    brighter = films[1:2] * 0.8 + 0.1
    mirrored = films[2:3].flip(-1)
    images = torch.cat([films, coarse, brighter, mirrored, torch.zeros(1, 1, 80, 80)])
    assert near_copies(images, member) == 3
    assert near_copies(images[:6], member[:6]) == 0
    assert near_copies(images, np.ones(10, dtype=bool)) == 0
    assert near_copies(images[:, :, :1, :1], member) == 0  # of one gray each: nothing to compare
