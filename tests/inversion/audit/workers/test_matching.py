"""Tests of medleak.inversion.audit.workers.matching."""

import pytest
import torch

from medleak.custom.data.datalist import Item, save_datalist
from medleak.custom.phantoms import listing, render
from medleak.custom.record import InputSpec
from medleak.inversion.audit.attacker import EasyCase
from medleak.inversion.audit.workers.matching import Attacked, Matching
from medleak.inversion.images.truth import load_truth, training_items
from medleak.inversion.reconstruction import Reconstruction
from medleak.inversion.results.case import Case

INPUT = InputSpec(spatial_size=(32, 32), channels=1)
CASE = Case(0, "site-1", "planted", "none", "all", 0)


@pytest.fixture
def datalist(tmp_path):
    made = listing(3)
    at = render(made, tmp_path / "images", 32)
    path = tmp_path / "site-1.json"
    items = [Item(str(at / i.image), i.label, i.patient) for i in made]
    save_datalist(path, {"training": items, "validation": []})
    return path


def finding(images):
    """An attack that finds ``images``."""
    found = Reconstruction(
        images=images, labels=None, losses={}, history=torch.zeros(1), iterations=1, seconds=0.5
    )
    return lambda *_: found


def test_a_flipped_image_is_found_where_it_was_attacked(datalist):
    truth = load_truth(training_items(datalist, "site-1"), (32, 32), 1).images
    attack = finding(truth[1:2].flip(3).repeat(1, 3, 1, 1))
    attacked = Matching(attack, {"site-1": datalist}, INPUT)(CASE, None)
    assert isinstance(attacked, Attacked)
    assert attacked.found is attack()
    assert attacked.matches is not None
    (_, place), best = max(attacked.matches.items(), key=lambda match: match[1].ssim)
    assert place == 1
    assert best.transformation is not None
    assert best.transformation.flip
    assert best.ssim > 0.99


def test_truth_is_read_when_the_attack_has_ended(datalist, tmp_path):
    hidden = datalist.rename(tmp_path / "hidden.json")

    def attack(*_):
        hidden.rename(datalist)
        return finding(torch.rand(1, 1, 32, 32))()

    attacked = Matching(attack, {"site-1": datalist}, INPUT)(CASE, None)
    assert attacked.matches


@pytest.mark.parametrize("what", ["none", "missing", "empty", "image gone", "damaged"])
def test_a_truth_that_cannot_be_read_here_is_left_to_who_measures(datalist, what):
    if what == "missing":
        datalist.unlink()
    elif what == "empty":
        save_datalist(datalist, {"training": [], "validation": []})
    elif what == "image gone":
        next(datalist.parent.rglob("*.png")).unlink()
    elif what == "damaged":
        datalist.write_text("{")
    lists = {"site-1": None if what == "none" else datalist}
    attacked = Matching(finding(torch.rand(1, 1, 32, 32)), lists, INPUT)(CASE, None)
    assert attacked.matches is None


def test_volumes_are_compared_as_they_are_listed(datalist):
    attacked = Matching(finding(torch.rand(1, 1, 8, 8, 8)), {"site-1": None}, INPUT)(CASE, None)
    assert not attacked.matches


def test_what_is_no_reconstruction_goes_through(datalist):
    task = EasyCase(0, "site-1", "planted", "all")
    assert Matching(lambda *_: "healthy", {"site-1": datalist}, INPUT)(task, None) == "healthy"
