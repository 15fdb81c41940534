"""Tests of medleak.inversion.audit.evaluation; what needs a record is in test_audit."""

import dataclasses
import gc
import itertools
import tempfile
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tests.inversion.measures.films import films
from torchvision.models import resnet18
from torchvision.transforms import functional

from medleak.custom.data.datalist import Item, load_datalist, save_datalist
from medleak.custom.data.transforms import load_images
from medleak.custom.phantoms import listing, render
from medleak.custom.record import InputSpec
from medleak.inversion.audit import evaluation
from medleak.inversion.audit.evaluation import Evaluator
from medleak.inversion.images.prior import load_prior
from medleak.inversion.measures import seen, similarity
from medleak.inversion.measures.embedding import EmbeddingError
from medleak.inversion.measures.perceptual import Perceptual
from medleak.inversion.measures.seen import search
from medleak.inversion.measures.similarity import as_channels
from medleak.inversion.reconstruction import Reconstruction
from medleak.inversion.results.case import Case
from medleak.inversion.results.summary import summarise

pytestmark = pytest.mark.slow


def test_colour_is_averaged_to_gray_and_gray_repeated_to_colour():
    colour = torch.tensor([0.2, 0.4, 0.9]).view(1, 3, 1, 1).expand(2, 3, 4, 5)
    torch.testing.assert_close(as_channels(colour, 1), torch.full((2, 1, 4, 5), 0.5))
    gray = torch.rand(2, 1, 4, 5)
    assert torch.equal(as_channels(gray, 3), gray.repeat(1, 3, 1, 1))
    assert as_channels(gray, 1) is gray


SPEC = InputSpec(spatial_size=(32, 32), channels=1)
CASE = Case(0, "site-9", "planted", "none", "all", 0)
CASE_1 = dataclasses.replace(CASE, site="site-1")


@pytest.fixture
def federation(tmp_path):
    """Lists of three clients on phantoms; site-9 trained on one image, the others on eight."""
    lists = {}
    for seed, (site, n) in enumerate({"site-9": 1, "site-1": 8, "site-2": 8}.items()):
        made = listing(n + 4, seed=seed)
        at = render(made, tmp_path / site, 32, seed=seed)
        items = [Item(str(at / i.image), i.label, f"{site} {i.patient}") for i in made]
        lists[site] = tmp_path / f"{site}.json"
        save_datalist(lists[site], {"training": items[:n], "validation": items[n:]})
    return lists


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """A ResNet-18 of random weights: features that tell images apart, if not what they show."""
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_file(resnet18(weights=None).state_dict(), path)
    return str(path)


def guess(images):
    return Reconstruction(
        images=images, labels=None, losses={}, history=torch.zeros(1), iterations=1, seconds=0.5
    )


def measured(measure, images, **changes) -> list[Any]:
    """Rows of ``images`` as if an attack had found them."""
    return measure.rows(dataclasses.replace(CASE, **changes), guess(images), ())


def evaluator(lists, **options):
    return Evaluator(lists, SPEC, load_prior("phantoms", (32, 32), 1), **options)


def test_a_planted_leak_reads_as_one_in_every_figure(federation, weights):
    """The recorded update is that of one step of a linear model: bias and weight give the image."""
    measure = evaluator(federation, embedding=weights)
    truth = measure.truth("site-9")
    assert truth is not None
    network = torch.nn.Linear(32 * 32, 2)
    logits = network(truth.images.flatten(1))
    torch.nn.functional.cross_entropy(logits, truth.labels).backward()
    assert network.weight.grad is not None
    assert network.bias.grad is not None
    exact = (network.weight.grad[0] / network.bias.grad[0]).view(1, 1, 32, 32).clamp(0, 1)
    rows = measured(measure, exact)
    (row,) = rows
    assert row.rdlv == pytest.approx(1 / row.ssim_prior - 1, rel=1e-4)
    assert (row.iip_match, row.iip_site_match) == (True, True)
    assert row.cosine == pytest.approx(1, abs=1e-4)
    (site,) = summarise(rows, [])["sites"]
    assert site["iip"]["mean"] == 1.0
    assert site["iip"]["gallery"] == 17 + 12
    assert site["iip"]["p"] == pytest.approx(1 / row.class_mates)
    assert site["asr"]["mean"] == 1.0
    assert site["verdict"].startswith("leaks")


def test_unrelated_images_lie_within_the_nulls(federation, weights):
    """Held-out films of the same kind, under five seeds, as an attack that found nothing."""
    measure = evaluator(federation, embedding=weights)
    made = listing(40, seed=99)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        at = render(made, Path(folder), 32, seed=99)
        items = [Item(str(at / i.image), i.label, i.patient) for i in made]
        images, _ = load_images(items, spatial_size=(32, 32), channels=1)
    for seed in range(5):
        rows += measured(measure, images[8 * seed : 8 * seed + 8], site="site-1", seed=seed)
    (site,) = summarise(rows, [])["sites"]
    null = site["iip"]["null"]
    assert null["lower95"] <= site["iip"]["mean"] <= null["upper95"]
    assert site["iip"]["p"] > 0.05
    assert site["nulls"]["nonmember"]["excess"]["upper95"] < 0
    assert not site["verdict"].startswith(("leaks", "no leak"))


def test_what_does_not_depend_on_the_attack_stands_in_each_row(federation):
    measure = evaluator(federation)
    truth = measure.truth("site-1")
    assert truth is not None
    prior = load_prior("phantoms", (32, 32), 1)
    rows = measured(measure, truth.images.flip(0), site="site-1")
    for row in rows:
        index = int(row.truth_image[len("training[") : -1])
        true = truth.images[index : index + 1]
        assert index == 7 - row.reconstruction
        assert row.psnr_prior == pytest.approx(similarity.psnr(true, prior).item(), rel=1e-4)
        assert row.ssim_prior < row.ssim == 1.0
        assert 0 < row.ssim_class_mean < 1
        assert 0 < row.ssim_nonmember < 1
        assert row.site_images == 8
        assert row.patient is not None
        assert row.patient <= index


def test_without_a_network_every_row_says_why_there_is_no_iip(federation, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (row,) = measured(evaluator(federation), torch.rand(1, 1, 32, 32))
    assert (row.iip_match, row.cosine, row.gallery) == (None, None, 29)
    assert row.embedding.startswith("none: ImageNet weights of ResNet-18 are not in torch's cache")
    assert row.ssim_class_mean is not None


def test_a_network_that_was_asked_for_must_be_there(federation):
    with pytest.raises(EmbeddingError, match="does not exist"):
        evaluator(federation, embedding="nowhere.safetensors")


def test_patients_are_numbers_within_their_site(federation):
    measure = evaluator(federation)
    truth = measure.truth("site-1")
    assert truth is not None
    rows = measured(measure, truth.images, site="site-1")
    listed = [item.patient for item in load_datalist(federation["site-1"])["training"]]
    numbers = {row.truth_image: row.patient for row in rows}
    found = [numbers[f"training[{k}]"] for k in range(8)]
    assert found[0] == 0
    for a, b in itertools.combinations(range(8), 2):
        assert (found[a] == found[b]) == (listed[a] == listed[b])


def test_pixels_of_a_few_sites_are_held_and_no_more(federation, monkeypatch):
    measure = evaluator(federation)
    truth = measure.truth("site-1")
    assert truth is not None
    measure.truth("site-9")
    assert measure.truth("site-1") is truth
    monkeypatch.setattr(evaluation, "HELD_PIXELS", 8 * 32 * 32)  # the eight images of one site
    first = weakref.ref(truth.images)
    del truth
    measure.truth("site-2")  # site-9, asked for longest ago, goes first, and is enough
    assert first() is not None
    measure.truth("site-9")
    gc.collect()
    assert first() is None


def test_what_was_searched_before_is_not_searched_again_and_changes_no_figure(
    federation, monkeypatch
):
    measure = evaluator(federation)
    truth = measure.truth("site-1")
    assert truth is not None
    images = torch.cat([truth.images[:1].flip(3), truth.images[1:2], torch.rand(1, 1, 32, 32)])
    here = measure.rows(CASE_1, guess(images), ())
    matches = search(images, truth.images)
    assert {k for k, _ in matches} == {0, 2}  # the second is alike as it is
    monkeypatch.setattr(seen, "refine", None)
    assert measure.rows(CASE_1, guess(images), (), matches) == here
    assert here[0].transformation is not None


def test_a_site_without_a_list_is_not_measured_and_an_unknown_one_is_refused(federation):
    measure = evaluator({**federation, "site-7": None})
    assert measure.truth("site-7") is None
    (row,) = measured(measure, torch.rand(1, 1, 32, 32), site="site-7")
    assert (row.ssim, row.patient, row.truth_image) == (None, None, None)
    with pytest.raises(ValueError, match="knows no list of site-8"):
        measure.truth("site-8")


@pytest.mark.parametrize("shape", [(1, 1, 16, 16), (1, 3, 32, 32), (1, 32, 32), (2, 1, 32, 32)])
def test_a_prior_of_another_size_or_channels_is_refused(federation, shape):
    with pytest.raises(ValueError, match="The prior has shape"):
        Evaluator(federation, SPEC, torch.zeros(shape))


def test_no_neighbour_at_all_is_refused(federation):
    with pytest.raises(ValueError, match="at least 1, not at 0"):
        evaluator(federation, k=0)


def test_lpips_is_a_figure_where_it_was_asked_for_and_images_are_large_enough(federation):
    class Difference(torch.nn.Module):
        """In place of LPIPS."""

        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(1))

        def forward(self, a, b):
            return self.scale * (a - b).abs().mean((1, 2, 3))

    stub = Perceptual("stub", Difference())
    truth = evaluator(federation).truth("site-9")
    assert truth is not None
    guessed = (truth.images + 0.1).clamp(0, 1)
    (row,) = measured(evaluator(federation, perceptual=stub), guessed)
    expected = 2 * (guessed - truth.images).abs().mean().item()
    assert row.lpips == pytest.approx(expected, rel=1e-4)
    assert measured(evaluator(federation), guessed)[0].lpips is None
    small = InputSpec(spatial_size=(16, 16), channels=1)
    measure = Evaluator(federation, small, torch.full((1, 1, 16, 16), 0.5), perceptual=stub)
    assert measured(measure, torch.rand(1, 1, 16, 16))[0].lpips is None


AS_SEEN = {
    "flipped left-right": lambda x: x.flip(-1),
    "turned by 90°": lambda x: x.rot90(1, (-2, -1)),
    "rotated by": lambda x: functional.rotate(x, 12.0, functional.InterpolationMode.BILINEAR),
    "zoomed by": lambda x: functional.resized_crop(x, 2, 5, 25, 25, [32, 32], antialias=True),
}


@pytest.mark.parametrize("words", AS_SEEN)
def test_an_image_that_the_network_saw_transformed_is_a_leak_and_not_an_all_clear(
    federation, weights, words
):
    measure = evaluator(federation, embedding=weights)
    truth = measure.truth("site-9")
    assert truth is not None
    seen = AS_SEEN[words](truth.images)
    rows = measured(measure, seen)
    (row,) = rows
    assert row.transformation.startswith(words)
    assert row.ssim > 0.95
    assert row.ssim_listed == pytest.approx(similarity.ssim(truth.images, seen).item(), abs=1e-5)
    assert row.ssim > max(row.ssim_prior, row.ssim_class_mean, row.ssim_nonmember)
    assert row.rdlv == pytest.approx(row.ssim / row.ssim_prior - 1, abs=1e-4)
    assert row.iip_match
    picture = measure.seen(row.truth_picture)
    assert picture is not None
    assert similarity.ssim(picture[None], seen).item() == pytest.approx(row.ssim, abs=1e-5)
    text = summarise(rows, [])["sites"][0]["verdict"]
    assert text.startswith("leaks")
    assert f"as the network saw them: {row.transformation}" in text


def test_what_a_search_makes_of_unrelated_images_is_no_leak(federation, weights):
    measure = evaluator(federation, embedding=weights)
    unrelated = films(8, size=32, seed=99)
    rows = measured(measure, unrelated, site="site-1")
    assert all(row.transformation is None and row.ssim_listed == row.ssim for row in rows)
    assert not summarise(rows, [])["sites"][0]["verdict"].startswith(("leaks", "no leak"))


def test_alone_without_lists_of_others_a_flipped_image_is_still_a_leak(federation):
    alone = {**load_datalist(federation["site-9"]), "validation": []}
    save_datalist(federation["site-9"], alone)
    measure = evaluator({"site-9": federation["site-9"]})
    truth = measure.truth("site-9")
    assert truth is not None
    (row,) = measured(measure, truth.images.flip(-1))
    assert row.transformation == "flipped left-right"
    assert 0 < row.ssim_coarse < row.ssim
    rows = measured(measure, films(1, size=32, seed=50))
    assert rows[0].transformation is None
