"""Tests of grouping: the true images find back to their steps."""

from dataclasses import replace

import pytest
import torch

from medleak.inversion.attacks.row_space.grouping import regroup
from medleak.inversion.descent.meter import Meter
from medleak.inversion.evidence.one_round import read_evidence
from medleak.inversion.evidence.several_rounds import join
from medleak.inversion.evidence.terms import Compared, misfit, part, terms


def meter(seconds=None):
    return Meter(torch.device("cpu"), total=1, seconds=seconds, progress=None)


@pytest.fixture
def four(observed, smooth_images, resnet_spec):
    """Four images in two steps of two, who shared which unknown: (truth, evidence)."""
    truth = smooth_images(4, size=32)
    observation = observed(truth, torch.tensor([0, 1, 1, 0]), resnet_spec, batch_size=2, lr=0.001)
    evidence = read_evidence(observation, min_gap=0.0)
    return truth, replace(evidence, features={}, grouped=False)


@pytest.mark.parametrize("order", [[2, 1, 0, 3], [0, 3, 2, 1], [3, 1, 2, 0]])
def test_images_of_two_steps_find_back(four, order):
    truth, evidence = four
    found = truth[order][regroup(evidence, truth[order], meter())]
    for step in evidence.steps:
        group = {int((image - truth).abs().sum((1, 2, 3)).argmin()) for image in found[step.images]}
        assert group in ({0, 1}, {2, 3})
    assert torch.equal(found.sort(0).values, truth.sort(0).values)


def test_where_features_told_who_shared_a_step_whole_steps_are_swapped(four):
    truth, evidence = four
    evidence = replace(evidence, grouped=True)
    assert regroup(evidence, truth[[2, 3, 0, 1]], meter()) == [2, 3, 0, 1]
    mixed = truth[[2, 1, 0, 3]]  # which single images would have to be swapped for
    assert regroup(evidence, mixed, meter()) in ([0, 1, 2, 3], [2, 3, 0, 1])


def test_nothing_reorders_the_evidence_that_it_was_handed(four):
    truth, evidence = four
    name = next(iter(evidence.layers))
    rounds = join([replace(evidence, features={name: torch.arange(4)}, grouped=True)])
    order = regroup(rounds.last, truth[[2, 3, 0, 1]], meter())
    assert rounds.features[name].tolist() == [0, 1, 2, 3]
    assert rounds.reordered(order).features[name].tolist() == [2, 3, 0, 1]


def test_what_is_right_stays(four):
    truth, evidence = four
    assert regroup(evidence, truth, meter()) == [0, 1, 2, 3]


def test_the_misfit_is_that_of_the_terms(four):
    truth, evidence = four
    images = truth.flip(0)
    parts = [part(evidence, k, images[s.images]) for k, s in enumerate(evidence.steps)]
    everywhere = Compared(norms=evidence.norms, spans=tuple(evidence.spans))
    found = terms(join([evidence]), images, everywhere)
    assert misfit(evidence, parts) == pytest.approx(
        float(found.statistics + found.span_root), rel=1e-4
    )


def test_one_step_has_nothing_to_swap(observed, smooth_images, resnet_spec):
    truth = smooth_images(2, size=32)
    evidence = read_evidence(observed(truth, torch.tensor([0, 1]), resnet_spec))
    assert regroup(evidence, truth.flip(0), meter()) == [0, 1]


def test_without_time_nothing_is_swapped(four):
    truth, evidence = four
    assert regroup(evidence, truth[[2, 1, 0, 3]], meter(1e-9)) == [0, 1, 2, 3]
