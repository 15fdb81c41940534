"""Tests of several_rounds and of the averaging attack: rounds of one client together."""

from dataclasses import replace

import pytest
import torch

from medleak.inversion.attacks.row_space import RowSpace, run, run_average
from medleak.inversion.attacks.row_space.recipes import STATISTICS
from medleak.inversion.descent.pyramid_descent import QuasiNewton
from medleak.inversion.evidence.one_round import read_evidence
from medleak.inversion.evidence.several_rounds import Rounds, join
from medleak.inversion.evidence.terms import Compared, terms

pytestmark = pytest.mark.slow


@pytest.fixture
def rounds(observed, smooth_images, resnet_spec):
    """A truth, and what a site that adds fresh noise sends of it in four rounds."""
    truth = smooth_images(1, size=32)

    def make(k):
        generator = torch.Generator().manual_seed(k)

        def noise(name, value):
            if not value.is_floating_point():
                return value
            return value + 0.02 * torch.randn(value.shape, generator=generator)

        return observed(truth, torch.tensor([1]), resnet_spec, change=noise, drift=0.05 * k)

    return truth, [make(k) for k in range(4)]


def test_terms_are_means_over_the_rounds(observed, smooth_images, resnet_spec):
    truth, other = smooth_images(1, size=32), smooth_images(1, size=32, seed=1)
    parts = [
        read_evidence(observed(truth, torch.tensor([1]), resnet_spec, drift=drift), min_gap=0.0)
        for drift in (0.0, 0.1)
    ]
    joint = join(parts)
    assert joint.norms
    assert joint.spans
    assert joint.features

    everywhere = Compared(
        norms=joint.norms,
        spans=tuple(joint.spans),
        covers=tuple(joint.covers),
        features=tuple(joint.features),
    )
    found = terms(joint, other, everywhere)
    each = [terms(Rounds((part,)), other, everywhere) for part in parts]
    for name in ("statistics", "squares", "span", "span_root", "cover", "features"):
        mean = sum(float(getattr(one, name)) for one in each) / 2
        assert float(getattr(found, name)) == pytest.approx(mean, rel=1e-5), name
    assert float(terms(joint, truth, everywhere).squares) < 1e-6


def test_of_several_images_only_the_last_round_tells_features(observed, smooth_images, resnet_spec):
    """Each round's stand in an order of their own, which a mean would mix."""
    truth = smooth_images(2, size=32)
    first, last = (
        read_evidence(observed(truth, torch.tensor([0, 1]), resnet_spec, drift=drift), min_gap=0.0)
        for drift in (0.0, 0.1)
    )
    assert first.features
    joint = join([first, last])
    names = tuple(joint.features)
    assert names == tuple(last.features)
    images = smooth_images(2, size=32, seed=1)
    expected = float(terms(join([last]), images, Compared(features=names)).features)
    assert float(terms(joint, images, Compared(features=names)).features) == pytest.approx(expected)


def test_fresh_noise_averages_out(rounds):
    truth, observations = rounds
    prior = truth  # what moves it away from there is noise
    stage = replace(STATISTICS, descent=QuasiNewton(iterations=100, variation=0.0), squared=True)
    attack = RowSpace(stages=(stage,), attempts=1, max_noise=0.0)
    errors = []
    for found in (
        run(attack, observations[-1], prior, generator=torch.Generator().manual_seed(0)),
        run_average(attack, observations, prior, generator=torch.Generator().manual_seed(0)),
    ):
        errors.append(float((found.images - truth).square().mean()))
    assert errors[1] < 0.6 * errors[0]


def test_only_the_last_rounds_asked_for_are_looked_at(rounds):
    looked = []

    class Lazy(list):
        def __getitem__(self, k):
            looked.append(k)
            return super().__getitem__(k)

    stage = replace(STATISTICS, descent=replace(STATISTICS.descent, iterations=1))
    attack = RowSpace(stages=(stage,), attempts=1, rounds=2)
    run_average(attack, Lazy(rounds[1]), None, generator=torch.Generator().manual_seed(0))
    assert sorted(looked) == [2, 3]


def test_several_local_steps_are_refused_with_the_reason(observed, smooth_images, resnet_spec):
    observation = observed(
        smooth_images(2, size=32), torch.tensor([0, 1]), resnet_spec, batch_size=1
    )
    with pytest.raises(ValueError, match="shuffles its images"):
        run_average(
            RowSpace(), [observation, observation], None, generator=torch.Generator().manual_seed(0)
        )


def test_rounds_must_be_positive():
    with pytest.raises(ValueError, match="rounds must be at least 1"):
        RowSpace(rounds=0)
