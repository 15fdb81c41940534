"""Tests of EpochwiseBN."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from medleak.inversion.attacks import epochwise_bn
from medleak.inversion.attacks.epochwise_bn import EpochwiseBN
from medleak.inversion.knowledge import Knowledge, KnowledgeError
from medleak.inversion.measures.similarity import ssim

pytestmark = pytest.mark.slow

BN = EpochwiseBN(iterations=120, lr=0.1, gradient_from=1.0)


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    """MONAI's networks draw their weights from the global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def hazy(truth):
    """A prior as a mean image is one: the large shapes, at a third of their contrast."""
    mean = truth.mean(0, keepdim=True)
    return 0.35 + 0.3 * torch.nn.functional.avg_pool2d(mean, 5, 1, 2, count_include_pad=False)


def attack(module, settings, observation, prior=None, seed=0, **kwargs):
    generator = torch.Generator().manual_seed(seed)
    return module.run(settings, observation, prior, generator=generator, **kwargs)


@pytest.fixture
def high_risk(observed, resnet_spec, smooth_images):
    """TMI's client 9: one image, one step, the global model not the factory's."""
    truth = smooth_images(seed=1)
    return truth, observed(truth, torch.tensor([1]), resnet_spec, drift=0.3)


def similarity(truth, images):
    return float(ssim(truth, images.mean(1, keepdim=True)))


@pytest.mark.parametrize(
    "ablation",
    [
        pytest.param(
            {"bn_weight": 0.0, "gradient_weight": 1.0, "iterations": 30}, id="3b without BN loss"
        ),
        pytest.param({"global_model": False}, id="3c without the global model"),
        pytest.param({"start": "fundus", "gray": False}, id="3f wrong prior in colour"),
    ],
)
def test_each_ablation_of_tmis_figure_3_costs_similarity(ablation, high_risk):
    truth, observation = high_risk
    full = similarity(truth, attack(epochwise_bn, BN, observation, hazy(truth)).images)
    ablated = attack(epochwise_bn, replace(BN, **ablation), observation, hazy(truth))
    assert ablated.images.shape[1] == (1 if ablation.get("gray", True) else 3)
    assert similarity(truth, ablated.images) < full - 0.1


def test_without_a_prior_the_start_is_farther_from_the_update(high_risk):
    """Fig. 3d; this small case is solved all the same."""
    truth, observation = high_risk
    short = replace(BN, iterations=3)
    with_prior, without = (
        attack(epochwise_bn, replace(short, start=s), observation, hazy(truth)).history[0]
        for s in ("prior", "uniform")
    )
    assert float(with_prior) < float(without)


def test_without_statistics_the_attack_that_needs_them_says_so(
    observed, resnet_spec, smooth_images
):
    observation = observed(
        smooth_images(), torch.tensor([0]), resnet_spec, knowledge=Knowledge(bn_statistics=False)
    )
    with pytest.raises(KnowledgeError, match="bn_statistics"):
        attack(epochwise_bn, BN, observation)
    found = attack(epochwise_bn, replace(BN, bn_weight=0.0, iterations=3), observation)
    assert "statistics" not in found.losses
