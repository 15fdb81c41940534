"""Tests of InvertingGradients, GradInversion and EpochwiseBN on problems whose answer is known."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from medleak.inversion.attacks import epochwise_bn, grad_inversion, inverting_gradients
from medleak.inversion.attacks.epochwise_bn import EpochwiseBN
from medleak.inversion.attacks.grad_inversion import GradInversion
from medleak.inversion.attacks.inverting_gradients import InvertingGradients
from medleak.inversion.knowledge import Knowledge, KnowledgeError
from medleak.inversion.measures.similarity import ssim

pytestmark = pytest.mark.slow

BN = EpochwiseBN(iterations=120, lr=0.1, gradient_from=1.0)
# Settings under which each attack inverts its easy case: a network that shows it something.
ATTACKS: list[Any] = [
    pytest.param(inverting_gradients, InvertingGradients(iterations=200), "lenet", id="geiping"),
    pytest.param(
        grad_inversion,
        GradInversion(iterations=200, lr=0.1, variation=0.01, match="cosine"),
        "lenet",
        id="grad_inversion",
    ),
    pytest.param(epochwise_bn, BN, "resnet", id="epochwise_bn"),
]


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    """MONAI's networks draw their weights from the global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture
def specs(lenet_spec, resnet_spec):
    return {"lenet": lenet_spec, "resnet": resnet_spec}


def hazy(truth):
    """A prior as a mean image is one: the large shapes, at a third of their contrast."""
    mean = truth.mean(0, keepdim=True)
    return 0.35 + 0.3 * torch.nn.functional.avg_pool2d(mean, 5, 1, 2, count_include_pad=False)


def attack(module, settings, observation, prior=None, seed=0, **kwargs):
    generator = torch.Generator().manual_seed(seed)
    return module.run(settings, observation, prior, generator=generator, **kwargs)


@pytest.mark.parametrize(("module", "settings", "network"), ATTACKS)
def test_the_easy_case_is_inverted(module, settings, network, specs, observed, smooth_images):
    truth = smooth_images(seed=1)
    found = attack(
        module, settings, observed(truth, torch.tensor([1]), specs[network]), hazy(truth)
    )
    assert float(ssim(truth, found.images)) > 0.75
    assert found.labels.tolist() == [1]
    assert not found.stuck
    assert found.iterations == len(found.history) == settings.iterations


@pytest.mark.parametrize(("module", "settings", "network"), ATTACKS)
@pytest.mark.parametrize("schedule", [{"epochs": 2}, {"epochs": 3, "momentum": 0.5}])
def test_several_local_steps_are_inverted_as_well(
    module, settings, network, schedule, specs, observed, smooth_images
):
    truth = smooth_images(seed=1)
    observation = observed(truth, torch.tensor([1]), specs[network], lr=0.01, **schedule)
    found = attack(module, replace(settings, iterations=80), observation, hazy(truth))
    assert float(ssim(truth, found.images)) > 0.6
    assert found.labels.tolist() == [1]


@pytest.mark.parametrize(("module", "settings", "network"), ATTACKS)
@pytest.mark.parametrize("labels", ["known", "inferred", "optimised"])
def test_two_images_with_every_kind_of_label_knowledge(
    module, settings, network, labels, specs, observed, smooth_images
):
    truth, classes = smooth_images(2, seed=8), torch.tensor([0, 1])
    observation = observed(truth, classes, specs[network], knowledge=Knowledge(labels=labels))
    found = attack(module, replace(settings, iterations=40), observation, hazy(truth))
    assert found.images.shape == truth.shape
    assert float(found.history[-1]) < 0.7 * float(found.history[0])
    if labels != "optimised":
        assert sorted(found.labels.tolist()) == [0, 1]


@pytest.mark.parametrize(("module", "settings", "network"), ATTACKS)
def test_the_same_seed_finds_the_same_image_and_nothing_is_changed(
    module, settings, network, specs, observed, smooth_images
):
    observation = observed(smooth_images(), torch.tensor([0]), specs[network])
    before = {n: v.clone() for n, v in observation.parameter_update.items()}
    state = {n: v.clone() for n, v in observation.network().state_dict().items()}
    quick = replace(settings, iterations=8)
    first, second = (attack(module, quick, observation, seed=7) for _ in range(2))
    torch.testing.assert_close(first.images, second.images, rtol=0, atol=0)
    for name, value in observation.parameter_update.items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    for name, value in observation.network().state_dict().items():
        torch.testing.assert_close(value, state[name], rtol=0, atol=0)


@pytest.mark.parametrize(("module", "settings", "network"), ATTACKS)
def test_an_update_that_is_noise_is_reported_as_stuck(
    module, settings, network, specs, observed, smooth_images
):
    noise = torch.Generator().manual_seed(0)

    def drown(name, value):
        if not value.is_floating_point():
            return value
        return value + torch.rand(value.shape, generator=noise)

    observation = observed(smooth_images(), torch.tensor([0]), specs[network], change=drown)
    found = attack(module, replace(settings, iterations=20, attempts=2), observation)
    assert found.stuck
    assert found.attempts == 2
    assert found.losses["distance"] > settings.solved


@pytest.mark.parametrize(("module", "settings", "network"), ATTACKS)
@pytest.mark.parametrize(
    ("withheld", "schedule"),
    [
        (Knowledge(global_model=False), {}),
        (Knowledge(n_images=False), {}),
        (Knowledge(lr=False), {"epochs": 2}),
        (Knowledge(batch_size=False), {"epochs": 2}),
    ],
)
def test_withheld_knowledge_is_not_used(
    module, settings, network, withheld, schedule, specs, observed, smooth_images
):
    observation = observed(
        smooth_images(), torch.tensor([0]), specs[network], knowledge=withheld, **schedule
    )
    with pytest.raises(KnowledgeError):
        attack(module, settings, observation)


@pytest.mark.parametrize(("module", "settings", "network"), ATTACKS)
def test_a_long_schedule_is_not_unrolled(module, settings, network, specs, observed, smooth_images):
    truth = smooth_images(4)
    observation = observed(
        truth, torch.tensor([0, 1, 1, 0]), specs[network], batch_size=1, epochs=3, lr=1e-3
    )
    assert observation.n_steps == 12
    found = attack(module, replace(settings, iterations=3), observation)
    assert torch.isfinite(found.history).all()


@pytest.mark.parametrize(("module", "settings", "network"), ATTACKS)
def test_progress_is_told_and_a_budget_kept(
    module, settings, network, specs, observed, smooth_images
):
    told: list[Any] = []
    observation = observed(smooth_images(), torch.tensor([0]), specs[network])
    endless = replace(settings, iterations=10**6, seconds=0.3)
    found = attack(module, endless, observation, on_progress=told.append)
    assert found.ending == "budget"
    assert found.seconds < 10
    assert told[-1].iteration == found.iterations


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (InvertingGradients, {"variation": -1.0}, "variation must be at least 0 and finite"),
        (InvertingGradients, {"start": "dark"}, "start must be one of normal"),
        (GradInversion, {"start": "dark"}, "start must be one of normal"),
        (EpochwiseBN, {"start": "dark"}, "start must be one of normal"),
        (InvertingGradients, {"match": "l3"}, "match must be one of"),
        (GradInversion, {"seeds": 0}, "seeds must be at least 1, got 0"),
        (GradInversion, {"group_weight": float("inf")}, "group_weight must be at least 0"),
        (EpochwiseBN, {"variation": (1.0, -1.0)}, "variation must be at least 0"),
        (EpochwiseBN, {"gradient_from": 1.5}, r"gradient_from must be in \[0, 1\], got 1\.5"),
        (EpochwiseBN, {"bn_weight": 0.0, "gradient_weight": 0.0}, "nothing would be matched"),
    ],
)
def test_settings_that_cannot_run_are_refused(kind, settings, message):
    with pytest.raises(ValueError, match=message):
        kind(**settings)
