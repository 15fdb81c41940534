"""Tests of medleak.inversion.attacks.row_space.stages: what is matched for which client."""

from dataclasses import replace

import pytest
import torch

from medleak.inversion.attacks.row_space import RowSpace
from medleak.inversion.attacks.row_space import attack as module
from medleak.inversion.attacks.row_space.recipes import sharp
from medleak.inversion.attacks.row_space.stages import Matching, Stage
from medleak.inversion.descent.pyramid_descent import QuasiNewton
from medleak.inversion.evidence.several_rounds import Rounds

JUDGED = sharp(100)


def changed(rounds, **other):
    return Rounds(tuple(replace(evidence, **other) for evidence in rounds.rounds))


FEATURES = Stage(descent=QuasiNewton(iterations=1), norms="none", spans="none", features=True)


def test_a_stage_is_zero_at_the_truth_and_not_elsewhere(evidence, smooth_images):
    matching = Matching(evidence(), JUDGED)
    assert float(matching.loss(smooth_images(1, size=32), 0.0)) < 1e-4
    assert float(matching.loss(smooth_images(1, size=32, seed=1), 0.0)) > 0.1


def test_features_are_matched_by_the_truth_and_not_by_another_image(evidence, smooth_images):
    matching = Matching(evidence(), FEATURES)
    assert float(matching.loss(smooth_images(1, size=32), 0.0)) < 1e-4
    assert float(matching.loss(smooth_images(1, size=32, seed=1), 0.0)) > 0.1


def test_features_of_several_images_are_matched_each_by_its_own(evidence, smooth_images):
    found, truth = evidence(2), smooth_images(2, size=32)
    assert found.grouped
    matching = Matching(found, FEATURES)
    here, there = (float(matching.loss(truth[order], 0.0)) for order in ([0, 1], [1, 0]))
    assert min(here, there) < 1e-4
    assert max(here, there) > 0.1
    swapped = Matching(found.reordered([1, 0]), FEATURES)
    assert float(swapped.loss(truth, 0.0)) == pytest.approx(there, abs=1e-6)


def test_features_of_several_steps_are_sorted_by_step(evidence, smooth_images):
    found, truth = evidence(4, batch_size=2, lr=0.001), smooth_images(4, size=32)
    assert found.grouped
    matching = Matching(found, FEATURES)
    orders = [[a, 1 - a, 2 + b, 3 - b] for a in (0, 1) for b in (0, 1)]
    orders += [order[2:] + order[:2] for order in orders]
    best = min(float(matching.loss(truth[order], 0.0)) for order in orders)
    assert best < 0.5  # the weights of the second step are interpolated
    assert float(matching.loss(truth[[0, 2, 1, 3]], 0.0)) > 5 * best


def test_an_attempt_that_begins_with_a_blur_goes_on_from_the_best_image(
    observed, smooth_images, resnet_spec, monkeypatch
):
    starts = []

    def brighter(_descent, _loss, start, *_):
        starts.append(start)
        return start + 0.1, "finished"

    monkeypatch.setattr(module, "descend", brighter)
    observation = observed(smooth_images(1, size=32), torch.tensor([0]), resnet_spec)
    attack = RowSpace(attempts=2, stages=(replace(JUDGED, blur=0.05),))
    module.run(attack, observation, None, generator=torch.Generator().manual_seed(0))
    flat, after = starts
    assert torch.allclose(flat, torch.full_like(flat, 0.5))
    assert torch.allclose(after, flat + 0.1, atol=1e-6)  # the blur of a flat image is itself


@pytest.fixture
def ends(observed, smooth_images, resnet_spec, monkeypatch):
    """(stages, images that their descents end at) -> what the attack returns."""

    def attack(*stages, images):
        left = iter(images)
        monkeypatch.setattr(module, "descend", lambda *_: (next(left), "finished"))
        observation = observed(smooth_images(1, size=32), torch.tensor([0]), resnet_spec)
        settings = RowSpace(attempts=1, stages=stages)
        found = module.run(settings, observation, None, generator=torch.Generator().manual_seed(0))
        return found.images

    return attack


def test_a_stage_that_proves_nothing_is_taken_back(ends, smooth_images):
    truth, other = smooth_images(1, size=32), smooth_images(1, size=32, seed=1)
    proven = replace(JUDGED, proven=True)
    assert torch.equal(ends(JUDGED, proven, images=[truth, other]), truth)
    assert torch.equal(ends(JUDGED, proven, images=[other, truth]), truth)
    assert torch.equal(ends(JUDGED, JUDGED, images=[truth, other]), other)


def test_what_needs_an_image_that_is_near_is_left_out_where_it_is_not(ends, smooth_images):
    truth, other = smooth_images(1, size=32), smooth_images(1, size=32, seed=1)
    near = replace(JUDGED, near=True)
    assert torch.equal(ends(JUDGED, near, images=[other, truth]), other)
    assert torch.equal(ends(JUDGED, near, images=[truth, other]), other)
