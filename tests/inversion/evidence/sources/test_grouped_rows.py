"""Tests of the rows of grouped and depthwise convolutions."""

import pytest
import torch
from tests.inversion.evidence.rounds import smooth, trained_once
from torch import nn

from medleak.inversion.evidence.one_round import read_evidence
from medleak.inversion.evidence.reading import Reading
from medleak.inversion.evidence.several_rounds import join
from medleak.inversion.evidence.sources.grouped_rows import SOURCE, clues
from medleak.inversion.evidence.terms import Compared, terms


def network(groups: int, kernel: int = 5) -> nn.Module:
    """A grouped convolution at 4 x 4 places, 16 patches of 25 values and more; and a plain one."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 8, stride=8, bias=False),
        nn.BatchNorm2d(16),
        nn.SiLU(),
        nn.Conv2d(16, 16, kernel, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(16),
        nn.SiLU(),
        nn.Conv2d(16, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.SiLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 2),
    )


@pytest.mark.parametrize("groups", [16, 4])
def test_rows_are_mixtures_of_the_true_images_patches_and_of_no_other(groups):
    truth = smooth(1)
    reading = Reading(trained_once(network(groups), truth, torch.tensor([1])))
    (found,) = clues(reading).values()

    def misfit(images):
        trace = reading.probe.run(images, inputs=found.inputs)
        return float(found.misfit(trace.inputs))

    assert misfit(truth) < 1e-3
    assert misfit(smooth(1, seed=1)) > 0.1


def test_candidates_are_compared_by_them_with_a_gradient():
    truth = smooth(1)
    rounds = join([read_evidence(trained_once(network(16), truth, torch.tensor([1])))])
    assert rounds.clues == {"grouped_rows": ("3",)}
    images = smooth(1, seed=1).requires_grad_()
    found = terms(rounds, images, Compared(clues=rounds.clues)).clues
    (gradient,) = torch.autograd.grad(found, images)
    assert gradient.abs().sum() > 0


def test_what_they_cannot_tell_is_said():
    (told,) = SOURCE.tell(
        Reading(trained_once(network(16, kernel=3), smooth(1), torch.tensor([1])))
    )
    assert not told.useful
    assert told.words == "16 patches of 9 values explain any row"
    (told,) = SOURCE.tell(Reading(trained_once(network(16), smooth(1), torch.tensor([1]))))
    assert told.useful
    assert told.images == 1
    assert "rows of 16 of 16 groups, 25 values each" in told.words


def test_rows_under_noise_are_left_out():
    noisy = trained_once(network(16), smooth(1), torch.tensor([1]), noise=1e-2)
    assert clues(Reading(noisy)) == {}
