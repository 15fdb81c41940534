"""What linear layers and low-rank adapters tell of what entered them."""

import copy
import dataclasses

import pytest
import torch
from tests.inversion.evidence.linear.adapted import ADAPTERS, Bottleneck, OfModules, Tokens, adapted
from tests.inversion.evidence.rounds import MEAN, STD, saying, smooth, trained_once
from torch import nn

from medleak.custom.record import TaskSpec
from medleak.inversion.evidence.inspection import inspect_update
from medleak.inversion.evidence.reading import Reading
from medleak.inversion.evidence.sources.linear_inputs import SOURCE

LABEL = torch.tensor([1])


def trained(network, images, labels=LABEL, *, only=("lora", "thin", "tall", ".p", ".q"), **how):
    """What was seen of a client that trained the parameters whose names hold one of ``only``."""
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(any(part in name for part in only))
    torch.manual_seed(0)
    observation = trained_once(network, images, labels, **how)
    return dataclasses.replace(observation, _task=TaskSpec(num_classes=4))


def told_of(observation):
    return {t.words: t for t in SOURCE.tell(Reading(observation)) if t.useful}


def entering(network, module, images):
    """What entered ``module`` of the network before it was trained."""
    seen = []
    module(copy_of := copy.deepcopy(network).eval()).register_forward_pre_hook(
        lambda _, args: seen.append(args[0].detach())
    )
    mean, std = torch.tensor([MEAN, STD])[..., None, None]
    copy_of((images.expand(-1, 3, -1, -1) - mean) / std)
    return seen[0]


@pytest.mark.parametrize("kind", ADAPTERS)
def test_a_first_step_of_an_adapter_tells_a_few_products_of_its_input(kind):
    found = SOURCE.tell(Reading(trained(adapted(kind), smooth(1))))
    first, second = (t for t in found if "frozen" not in t.words)
    assert not first.useful
    assert "it moves from the second step on" in first.words
    assert second.words == "its input, 3 products with the first factor, up to a factor"
    assert (second.rank, second.expected, second.exact) == (1, 1, False)


@pytest.mark.parametrize("kind", ADAPTERS)
def test_of_one_image_an_adapters_first_factor_is_its_features(kind):
    network = adapted(kind, moved=True)
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    truth = entering(network, lambda n: n.middle, smooth(1))[0]
    observation = trained(network, smooth(1))
    told = told_of(observation)["its input, 20 features, up to a factor"]
    assert told.exact
    (name,) = [n for n, u in observation.parameter_update.items() if u.shape == (3, 20)]
    row = observation.parameter_update[name][0]
    assert abs(torch.cosine_similarity(row, truth, dim=0)) > 0.9999


def test_of_several_images_the_span_or_a_few_mixtures_are_told():
    two = told_of(trained(adapted("modules", moved=True), smooth(2), torch.tensor([1, 3])))
    assert "the span of its inputs, 2 at most, of 20 features" in two
    labels = torch.arange(12) % 4
    many = told_of(trained(adapted("modules", moved=True), smooth(12), labels))
    assert list(many) == ["3 mixtures of its inputs, 12 at most, of 20 features"]
    full = SOURCE.tell(
        Reading(trained(adapted("modules", moved=True), smooth(24), torch.arange(24) % 4))
    )
    assert not any(t.useful for t in full)
    assert any("24 inputs of 20 features: any mixture" in t.words for t in full)


def test_inputs_of_several_steps_are_counted_apart():
    observation = trained(
        adapted("parameters", moved=True), smooth(2), torch.tensor([1, 3]), batch_size=1
    )
    assert any(w.startswith("the span of its inputs, 2 at most") for w in told_of(observation))


def test_an_adapted_head_tells_the_label():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 20, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        OfModules(nn.Linear(20, 12), 3), nn.GELU(), OfModules(nn.Linear(12, 4), 2),
    )  # fmt: skip
    observation = trained(network, smooth(1))
    found = inspect_update(observation)
    assert found.verdict == "features"
    assert "the label" in [t for t in found.told if t.source == "linear_inputs"][-1].words
    assert not [t for t in found.told if t.source == "last_layer"]
    row = observation.parameter_update["6.lora_B.default.weight"][:, 0].sign()
    (alone,) = [k for k in range(4) if (row == row[k]).sum() == 1]
    assert alone == int(LABEL)


def test_a_bottleneck_tells_its_features_with_their_size():
    network = Bottleneck()
    truth = entering(network, lambda n: n.middle[0], smooth(1))[0]
    observation = trained(network, smooth(1), only=("middle",))
    assert "its input, 20 features" in told_of(observation)
    update = observation.parameter_update
    unit = int(update["middle.0.bias"].abs().argmax())
    row = update["middle.0.weight"][unit] / update["middle.0.bias"][unit]
    torch.testing.assert_close(row, truth, rtol=1e-2, atol=1e-3)


def test_tokens_span_what_entered_and_patches_of_pixels_are_called_so():
    network = Tokens()
    truth = entering(network, lambda n: n.later, smooth(1))[0]
    observation = trained(network, smooth(1), only=("patches", "later"))
    found = {t.layer: t for t in SOURCE.tell(Reading(observation))}
    assert found["later"].words == "the span of its inputs, 4 at most, of 24 features"
    assert found["later"].of == "features"
    basis = torch.linalg.svd(observation.parameter_update["later.weight"])[2][:4]
    outside = truth - truth @ basis.T @ basis
    assert float(outside.norm() / truth.norm()) < 1e-3


def test_what_noise_hides_is_not_told():
    assert not told_of(trained(adapted("modules", moved=True), smooth(1), noise=1e-2))


@pytest.mark.parametrize("wrong", [{"optimizer": "adamw"}, {"n_images": 1, "batch_size": 1}])
def test_more_directions_than_inputs_contradict_what_was_said(wrong):
    honest = trained(adapted("modules", moved=True), smooth(2), torch.tensor([1, 3]))
    lying = saying(honest, **wrong)
    assert not told_of(lying)
    assert any("more than its" in t.words for t in SOURCE.tell(Reading(lying)))
    assert inspect_update(lying).verdict == "not known"


def test_several_steps_of_adam_are_no_sum_of_gradients():
    honest = trained(
        adapted("parameters", moved=True), smooth(2), torch.tensor([1, 3]), batch_size=1
    )
    assert not told_of(saying(honest, optimizer="adamw"))
