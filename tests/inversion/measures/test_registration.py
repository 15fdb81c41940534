"""Tests of medleak.inversion.measures.registration: every kind of augmentation is found."""

import time

import pytest
import torch
from tests.inversion.measures.films import AUGMENTATIONS, SIZE, films, grainy
from tests.places import SHARED

from medleak.custom.data.datalist import Item
from medleak.custom.data.transforms import load_images
from medleak.inversion.measures.registration import augmented_ssim, coarse, compare
from medleak.inversion.measures.similarity import ssim

FILMS = films(4)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_what_the_network_saw_is_found(name):
    seen = AUGMENTATIONS[name](FILMS)
    for truth, image in zip(FILMS, seen, strict=True):
        found = compare(truth, grainy(image))
        assert found.transformation is not None
        of_seen = float(ssim(found.transformation(truth[None]), image[None]))
        assert of_seen >= 0.95
        assert found.ssim > found.plain + 0.03


def test_the_words_name_what_was_done():
    words = {
        n: str(compare(FILMS[1], f(FILMS)[1]).transformation) for n, f in AUGMENTATIONS.items()
    }
    assert words["flip"] == "flipped left-right"
    assert words["upside down"] == "flipped top-bottom"
    assert words["quarter turn"] == "turned by 90°"
    assert words["rotation"].startswith(("rotated by +12", "rotated by +11.9"))
    assert words["crop"].startswith("zoomed by 1.3")
    assert words["shift"].startswith("shifted by (-5.0, 4.0) px")
    assert words["flip and rotation"].startswith("flipped left-right, rotated by")


def test_an_image_that_came_back_as_it_is_listed_is_compared_so():
    for image in (FILMS[0], grainy(FILMS[0], 0.1)):
        found = compare(FILMS[0], image)
        assert found.transformation is None
        assert found.ssim == found.plain == pytest.approx(float(ssim(FILMS[:1], image[None])))


def test_the_search_alone_raises_the_ssim_of_unrelated_films():
    """Why nothing that it finds is believed before the nulls have gone through it, too."""
    others = films(4, seed=9)
    plain = ssim(FILMS, others)
    found = augmented_ssim(FILMS, others)
    assert bool((found >= plain).all())
    assert float(found.mean()) > float(plain.mean()) + 0.03


def test_colour_and_images_that_are_not_square_are_registered():
    colour = torch.rand(1, 3, 1, 1, generator=torch.Generator().manual_seed(3)) * FILMS[:1]
    assert str(compare(colour[0], colour[0].flip(-1)).transformation) == "flipped left-right"
    wide = FILMS[0][:, : SIZE // 2 + 8]
    found = compare(wide, wide.rot90(2, (-2, -1)))
    assert str(found.transformation) == "turned by 180°"


def test_flat_and_tiny_images_are_compared_as_they_are():
    flat = torch.full((1, SIZE, SIZE), 0.5)
    for truth, image in ((FILMS[0], flat), (flat, FILMS[0]), (flat, flat)):
        assert compare(truth, image).transformation is None
    small = FILMS[0][:, :12, :12]
    assert compare(small, small.flip(-1)).transformation is None


def test_the_coarse_search_takes_thumbnails_and_knows_the_image_among_others():
    others = torch.cat([films(6, seed=5), AUGMENTATIONS["crop"](FILMS[:1])])
    thumbnails = torch.nn.functional.adaptive_avg_pool2d(others, 16)
    correlation = [starts[0].correlation for starts in coarse(FILMS[0], thumbnails)]
    assert max(range(7), key=lambda k: correlation[k]) == 6


def test_a_pair_takes_a_fraction_of_a_second():
    image = AUGMENTATIONS["rotation"](FILMS)[0]
    compare(FILMS[0], image)
    start = time.process_time()
    compare(FILMS[0], image)
    assert time.process_time() - start < 1.0


X_RAYS = SHARED / "data" / "cxr"


@pytest.mark.skipif(
    not X_RAYS.is_dir(), reason=f"needs the real X-rays in {SHARED} (set MEDLEAK_SHARED)"
)
@pytest.mark.parametrize(
    "name",
    [
        "normal/00003441_000.jpg",
        "normal/00003552_005.jpg",
        "pneumonia/00011632_012.jpg",
        "pneumonia/00012158_021.jpg",
    ],
)
def test_real_films_whose_dark_rim_looks_like_the_border_of_what_is_seen(name):
    film, _ = load_images([Item(str(X_RAYS / name), 0, "a")], spatial_size=(SIZE, SIZE), channels=1)
    for kind in ("shift", "rotation"):
        assert compare(film[0], AUGMENTATIONS[kind](film)[0]).ssim >= 0.95
