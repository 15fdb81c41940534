"""Tests of medleak.inversion.measures.iip."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.optimize import linear_sum_assignment
from tests.inversion.measures.films import cropped, films

from medleak.custom.data.datalist import Item, save_datalist
from medleak.custom.record import InputSpec
from medleak.inversion.measures.gallery import Gallery, build_gallery, unit_length
from medleak.inversion.measures.iip import chance_test, identify, seen_cosines


def gallery(features, labels, training):
    """A gallery of given features; images and owners do not matter to IIP."""
    items = [Item(str(k), label, str(k)) for k, label in enumerate(labels)]
    return Gallery(
        items,
        torch.tensor(labels),
        [frozenset()] * len(items),
        training,
        torch.zeros(len(items), 1),
        None if features is None else unit_length(torch.tensor(features)),
        0,
        {},
    )


CORNERS = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0]]
FOUR = gallery(CORNERS, [0, 1, 0, 0], {"site-1": [0, 1], "site-2": [2]})


def test_an_image_is_identified_when_its_own_embedding_is_the_nearest():
    found = identify(FOUR, "site-1", torch.tensor([[5.0, 0.1, 0], [0.9, 1, 0]]), [0, 1])
    assert found.match == [True, False]
    assert found.neighbours == ["0", "-"]
    assert found.class_mates == [3, 1]
    assert found.cosine.tolist() == pytest.approx([0.9998, 0.7433], abs=1e-4)


def test_site_iip_counts_any_image_of_the_client_and_each_once():
    near_0 = torch.tensor([[1.0, 0, 0], [1.0, 0.01, 0], [0, 0, 1.0]])
    found = identify(FOUR, "site-1", near_0, [1, 0, 1])
    assert found.match == [False, True, False]
    assert found.site_match == [True, False, False]


def test_more_neighbours_identify_more():
    between = torch.tensor([[0.9, 1.0, 0.0]])
    assert identify(FOUR, "site-1", between, [1], k=2).match == [True]
    assert identify(FOUR, "site-1", between, [1], k=2).neighbours == ["- 1"]
    assert identify(FOUR, "site-1", between, [0], k=99).match == [True]


def test_no_neighbour_and_no_network_are_refused():
    with pytest.raises(ValueError, match="at least 1, not at 0"):
        identify(FOUR, "site-1", torch.eye(3)[:1], [0], k=0)
    blind = gallery(None, [0], {"site-1": [0]})
    with pytest.raises(ValueError, match="build it with an embedding network"):
        identify(blind, "site-1", torch.eye(3)[:1], [0])


def test_one_match_among_n_of_the_class_has_a_chance_of_one_in_n():
    found = chance_test([(["17"], 50)], 1)
    assert found.p == pytest.approx(1 / 50)
    assert found.mean == pytest.approx(1 / 50)
    assert (found.lower95, found.upper95) == (0, 0)


def test_ten_runs_that_end_in_the_same_picture_are_one_finding():
    assert chance_test([(["17"] * 10, 50)], 10).p == pytest.approx(1 / 50)
    independent = [(["17"], 50)] * 10
    assert chance_test(independent, 10).p == pytest.approx(50.0**-10)


def test_the_only_image_of_its_class_proves_nothing():
    assert chance_test([(["3"], 1)], 1).p == 1.0


def test_a_neighbour_of_another_class_could_never_have_matched():
    found = chance_test([(["-"], 50)], 0)
    assert (found.p, found.mean) == (1.0, 0.0)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.lists(st.sampled_from("0123-"), min_size=1, max_size=3), st.just(4)))
    .filter(bool)
    .map(lambda images: images[:3]),
    st.integers(0, 12),
)
def test_the_law_is_that_of_all_permutations(images, matches):
    counts = []
    for truths in itertools.product("0123", repeat=len(images)):
        of = zip(truths, images, strict=True)
        counts.append(sum(row == truth for truth, (rows, _) in of for row in rows))
    expected = sum(count >= matches for count in counts) / len(counts)
    found = chance_test(images, matches)
    assert found.p == pytest.approx(expected, abs=1e-12)
    assert found.mean == pytest.approx(sum(counts) / len(counts))
    inside = sum(found.lower95 <= count <= found.upper95 for count in counts) / len(counts)
    assert inside >= 0.95


def test_a_truth_that_was_chosen_among_the_clients_images_may_be_any_of_them():
    chosen = chance_test([(["17"], 50), (["-"], 50)], 1, candidates=[8, 8])
    assert chosen.p == pytest.approx(8 / 50)
    assert chosen.mean == pytest.approx(8 / 50)
    whole_class = chance_test([(["1", "2", "2"], 3)], 2, candidates=[3])
    assert (whole_class.p, whole_class.lower95, whole_class.upper95) == (1.0, 0, 2)


def test_unrelated_images_have_a_small_p_as_seldom_as_it_says():
    """20 points assigned to 20 of 200 by nearness, and looked up by nearness."""
    rng, small = np.random.default_rng(0), 0
    for _ in range(200):
        all_, found = rng.normal(size=(200, 2)), rng.normal(size=(20, 2))
        distance = np.linalg.norm(found[:, None] - all_, axis=2)
        _, truths = linear_sum_assignment(distance[:, :20])
        nearest = distance.argmin(1)
        images = [([str(place)], 200) for place in nearest]
        p = chance_test(images, int((nearest == truths).sum()), candidates=[20] * 20).p
        small += p <= 0.01
    assert small <= 4


def test_rows_of_two_galleries_are_not_counted_together():
    with pytest.raises(ValueError, match="different galleries"):
        chance_test([(["1", "2", "3"], 2)], 1)


def test_an_image_that_was_seen_transformed_is_identified_by_it_as_it_was_seen():
    flipped = torch.tensor([[0.2, 0.9, 0.5]])
    assert identify(FOUR, "site-1", flipped, [0]).match == [False]
    assert identify(FOUR, "site-1", flipped, [0], seen={0: {0: 0.99}}).match == [True]
    # A rival that is as near when it is flipped, too, takes that away; so no chance is counted.
    assert identify(FOUR, "site-1", flipped, [0], seen={0: {0: 0.99, 2: 0.995}}).match == [False]
    # Being transformed never makes an image less like.
    assert identify(FOUR, "site-1", torch.eye(3)[:1], [0], seen={0: {0: 0.1}}).match == [True]


def test_the_truth_and_its_rivals_are_each_transformed_as_suits_them(tmp_path):
    items = []
    for k, film in enumerate(films(6)):
        Image.fromarray((film[0].numpy() * 255).astype("uint8")).save(tmp_path / f"{k}.png")
        items.append(Item(str(tmp_path / f"{k}.png"), 0, str(k)))
    save_datalist(tmp_path / "a.json", {"training": items[:2], "validation": items[2:]})
    spec = InputSpec(spatial_size=(64, 64), channels=1)

    def embed(images):
        return torch.nn.functional.adaptive_avg_pool2d(images, 8).flatten(1)

    found = build_gallery({"site-1": tmp_path / "a.json"}, spec, embed)
    image = cropped(films(6).flip(-1))[0]
    features = embed(image[None])[0]
    cosines = seen_cosines(found, embed, "site-1", 0, image, features, spec)
    assert set(cosines) == set(range(6))  # of so few, all are rivals
    assert max(cosines, key=lambda place: cosines[place]) == 0
    assert cosines[0] > 0.99
