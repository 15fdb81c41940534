"""Tests of DLG, iDLG and CPL: one table of attacks, problems whose answer is known."""

from typing import Any

import pytest
import torch

from medleak.inversion.attacks import cpl, dlg, idlg
from medleak.inversion.attacks.cpl import CPL
from medleak.inversion.attacks.dlg import DLG
from medleak.inversion.attacks.idlg import IDLG
from medleak.inversion.client.single_step import single_step
from medleak.inversion.knowledge import Knowledge, KnowledgeError
from medleak.inversion.measures.similarity import assign, ssim

pytestmark = pytest.mark.slow

ATTACKS = [(dlg, DLG), (idlg, IDLG), (cpl, CPL)]
SHORT: dict[str, Any] = {"iterations": 300, "attempts": 1}


def attack(module, settings, observation, prior=None, seed=0, **kwargs):
    generator = torch.Generator().manual_seed(seed)
    return module.run(settings, observation, prior, generator=generator, **kwargs)


@pytest.mark.parametrize(("module", "settings"), ATTACKS)
@pytest.mark.parametrize("label", [0, 1])
def test_a_gray_image_and_its_label_are_recovered(module, settings, label, observed, smooth_images):
    truth = smooth_images(seed=label)
    found = attack(module, settings(**SHORT), observed(truth, torch.tensor([label])))
    assert found.labels.tolist() == [label]
    assert float(ssim(truth, found.images)) > 0.99
    assert not found.stuck
    assert found.images.shape == truth.shape


@pytest.mark.parametrize(("module", "settings"), ATTACKS)
def test_a_network_that_is_sure_of_the_label_leaks_as_well(
    module, settings, observed, smooth_images
):
    """Notes section 2: the published loss takes a gradient this small for zero."""
    truth, label = smooth_images(seed=3), torch.tensor([0])
    observation = observed(truth, label, lr=1.0, seed=4)  # softmax 0.9994 at the label
    squared = torch.stack([g.square().sum() for g in observation.gradient.values()]).sum()
    assert float(squared) < 1e-3
    found = attack(module, settings(**SHORT), observation)
    assert found.labels.tolist() == [0]
    assert float(ssim(truth, found.images)) > 0.95


@pytest.mark.parametrize(("module", "settings"), [(dlg, DLG), (cpl, CPL)])
def test_two_images_of_one_step_are_recovered(module, settings, observed, smooth_images):
    truth, labels = smooth_images(2, seed=8), torch.tensor([0, 1])
    found = attack(module, settings(iterations=300, attempts=2), observed(truth, labels))
    pairs = assign(found.images, truth)
    assert float(pairs.ssim.min()) > 0.9
    assert found.labels[pairs.reconstruction].tolist() == labels[pairs.truth].tolist()


@pytest.mark.parametrize(("module", "settings"), ATTACKS)
@pytest.mark.parametrize("change", [{"weight_decay": 0.01}, {"criterion": "bce"}, {"lr": 0.01}])
def test_the_clients_settings_are_taken_into_account(
    module, settings, change, observed, smooth_images
):
    truth = smooth_images(seed=2)
    found = attack(module, settings(**SHORT), observed(truth, torch.tensor([1]), **change))
    assert found.labels.tolist() == [1]
    assert float(ssim(truth, found.images)) > 0.95


@pytest.mark.parametrize(("module", "settings"), ATTACKS)
def test_at_the_true_image_the_distance_is_zero(module, settings, observed, smooth_images):
    truth, label = smooth_images(), torch.tensor([1])
    observation = observed(truth, label)
    start: dict[str, Any] = {"starts": ("prior",)} if module is cpl else {"start": "prior"}
    step = single_step(observation)
    images = truth.double().requires_grad_()
    for match in ("relative", "weighted"):
        loss = step.distance(match, images, label)
        assert loss.requires_grad
        assert float(loss.detach()) < 1e-5
    found = attack(module, settings(iterations=100, attempts=1, **start), observation, truth)
    assert float(ssim(truth, found.images)) > 0.999


@pytest.mark.parametrize(("module", "settings"), ATTACKS)
def test_the_same_seed_finds_the_same_image_and_nothing_is_changed(
    module, settings, observed, smooth_images
):
    observation = observed(smooth_images(), torch.tensor([0]))
    before = {n: v.clone() for n, v in observation.parameter_update.items()}
    weights = {n: v.clone() for n, v in observation.network().state_dict().items()}
    quick = settings(iterations=40, attempts=1)
    first, second = (attack(module, quick, observation, seed=7) for _ in range(2))
    torch.testing.assert_close(first.images, second.images, rtol=0, atol=0)
    for name, value in observation.parameter_update.items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    for name, value in observation.network().state_dict().items():
        torch.testing.assert_close(value, weights[name], rtol=0, atol=0)


@pytest.mark.parametrize(("module", "settings"), ATTACKS)
def test_a_hopeless_update_is_reported_as_stuck_after_all_attempts(
    module, settings, observed, smooth_images
):
    noise = torch.Generator().manual_seed(0)
    observation = observed(
        smooth_images(),
        torch.tensor([0]),
        change=lambda n, v: v + torch.randn(v.shape, generator=noise),
    )
    found = attack(module, settings(iterations=40, attempts=2), observation)
    assert found.stuck
    assert found.attempts == 2
    assert found.losses["gradient"] > 0.1


@pytest.mark.parametrize(("module", "settings"), ATTACKS)
def test_several_steps_are_refused(module, settings, observed, smooth_images):
    observation = observed(smooth_images(), torch.tensor([0]), epochs=2)
    with pytest.raises(ValueError, match="holds 2 local steps"):
        attack(module, settings(), observation)


@pytest.mark.parametrize(("module", "settings"), ATTACKS)
def test_withheld_knowledge_is_not_used(module, settings, observed, smooth_images):
    truth, label = smooth_images(), torch.tensor([0])
    for knowledge in (
        Knowledge(global_model=False),
        Knowledge(lr=False),
        Knowledge(n_images=False),
    ):
        with pytest.raises(KnowledgeError):
            attack(module, settings(), observed(truth, label, knowledge=knowledge))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"iterations": 0}, "iterations must be at least 1, got 0"),
        ({"attempts": 0}, "attempts must be at least 1"),
        ({"tolerance": 0.0}, "tolerance must be positive"),
        ({"solved": float("nan")}, "solved must be positive"),
        ({"seconds": -1.0}, "seconds must be positive or None"),
        ({"match": "cosin"}, "match must be weighted or one of squared"),
        ({"coordinates": "wavelets"}, "coordinates must be spectral or pixels"),
    ],
)
def test_settings_that_cannot_run_are_refused(settings: dict[str, Any], message):
    for kind in (DLG, IDLG, CPL):
        with pytest.raises(ValueError, match=message):
            kind(**settings)
