"""Tests of medleak.inversion.measures.seen: transformations are believed against their nulls."""

import torch
from tests.inversion.measures.films import AUGMENTATIONS, films, grainy

from medleak.inversion.measures import similarity
from medleak.inversion.measures.registration import compare
from medleak.inversion.measures.seen import found_in, most_alike, pair

FILMS = films(4)
OTHERS = films(6, seed=9)


def no_nulls(t):
    return {"ssim_prior": 0.1}


def nulls_of_others(t):
    return {"ssim_prior": 0.1, "ssim_nonmember": max(compare(FILMS[t], o).ssim for o in OTHERS)}


def paired(images, nulls=nulls_of_others, truths=FILMS, **more):
    return pair(images, truths, torch.zeros(len(truths)), nulls, **more)


def test_images_that_came_back_as_listed_are_paired_as_ever_and_nothing_is_searched():
    found = paired(grainy(FILMS.flip(0), 0.005), nulls=None)
    assert found.truth.tolist() == [3, 2, 1, 0]
    assert (found.searched, found.seen) == (False, {})
    assert torch.equal(found.ssim, found.listed)


def test_a_batch_of_which_some_were_flipped_is_paired_as_it_was_seen():
    seen = FILMS.clone()
    seen[1], seen[2] = FILMS[1].flip(-1), AUGMENTATIONS["crop"](FILMS)[2]
    found = paired(grainy(seen[[2, 0, 1]]))
    assert found.truth.tolist() == [2, 0, 1]
    assert sorted(found.seen) == [0, 2]
    assert str(found.seen[2].transformation) == "flipped left-right"
    assert found.seen[0].image.shape == FILMS[0].shape
    assert float(found.ssim.min()) > 0.9
    assert float(found.listed[0]) < 0.9


def test_the_nulls_go_through_the_same_search_and_unrelated_images_are_not_believed():
    found = paired(OTHERS[:4])
    assert found.searched
    assert found.seen == {}
    plain = similarity.assign(OTHERS[:4], FILMS)
    assert torch.equal(found.truth, plain.truth)
    assert torch.equal(found.ssim, plain.ssim)


def test_a_null_that_is_as_near_takes_the_belief_away():
    image = grainy(FILMS[:1].flip(-1))
    assert paired(image).seen
    assert not paired(image, lambda t: {"ssim_prior": 0.1, "ssim_nonmember": 0.99}).seen


def test_without_other_images_of_the_kind_it_must_show_more_than_a_coarse_copy_does():
    sharp = grainy(FILMS[:1].flip(-1))
    coarse = torch.nn.functional.adaptive_avg_pool2d(FILMS[:1].flip(-1), 6)
    blurred = torch.nn.functional.interpolate(coarse, size=FILMS.shape[-2:], mode="bicubic")
    assert paired(sharp, no_nulls).seen[0].nulls["ssim_coarse"] > 0.3
    assert not paired(blurred.clamp(0, 1), no_nulls).seen


def test_what_a_stuck_attack_left_must_lead_by_far():
    image = grainy(FILMS[:1].flip(-1), 0.005)
    assert paired(image, stuck=True).seen
    near = {"ssim_prior": 0.1, "ssim_nonmember": float(compare(FILMS[0], image[0]).ssim) - 0.1}
    assert paired(image, lambda t: near).seen
    assert not paired(image, lambda t: near, stuck=True).seen


def test_a_benchmark_is_told_which_image_was_seen_and_how():
    place, match = found_in(AUGMENTATIONS["rotation"](FILMS)[2], FILMS)
    assert place == 2
    assert match.ssim > 0.95
    assert match.transformation is not None
    assert most_alike(FILMS[1], FILMS.flip(-1)) > 0.99
