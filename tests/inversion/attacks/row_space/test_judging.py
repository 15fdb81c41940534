"""Tests of medleak.inversion.attacks.row_space.judging: what counts as found, and as stuck."""

from dataclasses import replace

import pytest
import torch
from tests.inversion.evidence.rounds import smooth, trained_once
from torchvision.models.convnext import CNBlockConfig, ConvNeXt
from torchvision.models.swin_transformer import SwinTransformer

from medleak.inversion.attacks.row_space import RowSpace, run
from medleak.inversion.attacks.row_space.judging import (
    is_clear,
    is_near,
    is_stuck,
    judged,
    outset,
)
from medleak.inversion.attacks.row_space.recipes import sharp
from medleak.inversion.attacks.row_space.stages import Matching
from medleak.inversion.descent.pyramid_descent import QuasiNewton
from medleak.inversion.evidence.one_round import read_evidence
from medleak.inversion.evidence.several_rounds import join
from medleak.inversion.measures.similarity import ssim


@pytest.fixture
def swin():
    torch.manual_seed(0)
    sizes = {"patch_size": [4, 4], "window_size": [4, 4], "stochastic_depth_prob": 0.0}
    network = SwinTransformer(
        embed_dim=24, depths=[1, 1, 1], num_heads=[2, 4, 8], num_classes=2, **sizes
    )
    return trained_once(network, smooth(1), torch.tensor([1]))


def convnext(*widths):
    torch.manual_seed(0)
    wider = [*widths[1:], None]
    stages = [CNBlockConfig(w, to, 1) for w, to in zip(widths, wider, strict=True)]
    return trained_once(ConvNeXt(stages, num_classes=2), smooth(1), torch.tensor([1]))


def test_the_truth_is_clear_and_another_image_is_stuck(evidence, smooth_images):
    rounds, truth = evidence(), smooth_images(1, size=32)
    other = smooth_images(1, size=32, seed=1)
    began = outset(rounds, torch.full_like(truth, 0.5))
    assert not is_stuck(rounds, truth, judged(rounds, truth), began)
    assert is_clear(rounds, truth, judged(rounds, truth))
    assert is_near(rounds, truth)
    assert is_stuck(rounds, other, judged(rounds, other), began)
    assert not is_near(rounds, other)


def test_tokens_are_judged_by_all_layers_as_the_first_lets_any_image_pass(swin):
    rounds = join([read_evidence(swin)])
    truth, other = smooth(1), smooth(1, seed=1)
    first = Matching(rounds, sharp(1)).terms(other)
    assert float(judged(rounds, truth).span) < 1e-5
    assert float(judged(rounds, other).span) > 3 * float(first.span)


def test_little_outside_is_no_sign_of_having_arrived_where_the_start_has_little_too(
    evidence, smooth_images
):
    rounds, truth = evidence(), smooth_images(1, size=32)
    began = outset(rounds, torch.full_like(truth, 0.5))
    found = replace(judged(rounds, truth), span=torch.tensor(4e-4))  # below every limit
    assert is_clear(rounds, truth, found)
    assert not is_stuck(rounds, truth, found, began)
    close = replace(began, judged=replace(began.judged, span=torch.tensor(1e-3)))
    assert is_stuck(rounds, truth, found, close)


def test_without_statistics_the_later_row_spaces_must_agree():
    rounds = join([read_evidence(convnext(16, 32, 64, 128))])
    assert len(rounds.spans) > 1
    truth, other = smooth(1), smooth(1, seed=1)
    began = outset(rounds, torch.full_like(truth, 0.5))
    fits = replace(judged(rounds, truth), span=torch.tensor(1e-6))
    assert not is_stuck(rounds, truth, fits, began)
    assert is_stuck(rounds, other, fits, began)


def test_without_statistics_a_single_row_space_is_no_evidence():
    rounds = join([read_evidence(convnext(16, 32, 64))])
    assert len(rounds.spans) == 1
    truth = smooth(1)
    assert is_stuck(rounds, truth, judged(rounds, truth), outset(rounds, truth.mean() + 0 * truth))


def test_an_attack_that_hardly_left_its_start_is_stuck_and_tries_every_way(swin):
    attack = RowSpace(stages=(replace(sharp(1), descent=QuasiNewton(iterations=1)),))
    found = run(attack, swin, smooth(1, seed=1), generator=torch.Generator().manual_seed(0))
    assert found.losses["span"] > 0.1 * found.start_losses["span"]
    assert found.stuck
    assert found.attempts == 3
    assert float(ssim(found.images, smooth(1))) < 0.9
