"""Tests of medleak.inversion.attacks.row_space.stages: what is matched for which client."""

from dataclasses import replace

import pytest
import torch

from medleak.inversion.attacks.row_space import RowSpace
from medleak.inversion.attacks.row_space import attack as module
from medleak.inversion.attacks.row_space.recipes import (
    JUDGED,
    STATISTICS,
    last_stages,
    recipe,
)
from medleak.inversion.attacks.row_space.stages import Matching, Stage
from medleak.inversion.descent.pyramid_descent import QuasiNewton
from medleak.inversion.evidence.one_round import read_evidence
from medleak.inversion.evidence.several_rounds import Rounds, join
from medleak.inversion.observation import Knowledge


@pytest.fixture
def evidence(observed, smooth_images, resnet_spec):
    def make(n=1, **more):
        images = smooth_images(n, size=32)
        observation = observed(images, torch.arange(n) % 2, resnet_spec, **more)
        return join([read_evidence(observation, min_gap=0.0)])

    return make


def changed(rounds, **other):
    return Rounds(tuple(replace(evidence, **other) for evidence in rounds.rounds))


FEATURES = Stage(descent=QuasiNewton(iterations=1), norms="none", spans="none", features=True)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("large", [True, False])
def test_every_attempt_goes_another_way(evidence, large, known):
    found = evidence()
    assert found.features
    if not known:
        found = changed(found, features={})
    plans = [recipe(found, 1, large=large, attempt=k) for k in range(3)]
    assert len(set(plans)) == 3
    blurred = {(True, True): 1, (True, False): 2, (False, False): 1}.get((large, known))
    assert [plan[0].blur > 0 for plan in plans] == [k == blurred for k in range(3)]
    assert any(stage.features for plan in plans for stage in plan) == known


def test_without_statistics_no_stage_matches_any_and_pixels_are_boxed(evidence):
    found = evidence(knowledge=Knowledge(bn_statistics=False))
    for n_images in (1, 4):
        for attempt in range(3):
            for stage in recipe(found, n_images, large=False, attempt=attempt):
                assert stage.norms == "none"
                assert stage.descent.box > 0


@pytest.mark.parametrize("known", [True, False])
def test_steps_are_regrouped_before_the_sharp_stages_and_single_steps_are_not(evidence, known):
    found = evidence(4, batch_size=2, lr=0.01)
    assert found.features
    if not known:
        found = changed(found, features={})
    several = recipe(found, 4, large=False)
    assert [stage.regroup for stage in several[:2]] == [True, True]
    assert all(stage.features == known for stage in several[:2])
    assert all(stage.per_image != known for stage in several[:2])
    assert several[2:]
    assert not any(stage.regroup or stage.per_image for stage in several[2:])
    assert not any(stage.regroup for stage in recipe(evidence(2), 2, large=False))


def test_without_a_row_space_the_statistics_remain(evidence):
    found = evidence()
    found = changed(found, spans={})
    assert recipe(found, 1, large=False) == (STATISTICS,)


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


def test_rows_that_may_be_noisy_have_to_prove_themselves(evidence):
    found = evidence()
    (rows,) = last_stages(found)
    assert (rows.covers, rows.near, rows.proven) == ("first", True, False)
    assert recipe(found, 1, large=False)[-1] == rows
    name, cover = next(iter(found.covers.items()))
    noisy = {name: replace(cover, rows=replace(cover.rows, noise=0.006))}
    soft, proven = last_stages(changed(found, covers=noisy))
    assert proven == replace(rows, proven=True)
    assert soft.covers == "none"
    assert last_stages(changed(found, covers={})) == (soft,)


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
