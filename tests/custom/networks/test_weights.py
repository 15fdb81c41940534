"""Tests of weights in the forms that people have them in."""

import logging
import re
from collections import OrderedDict

import pytest
import torch
import torchvision
from torch import nn

from medleak.custom.networks import densenet121, resnet18
from medleak.custom.networks.weights import WeightsError, load_weights, state_of, unwrapped

OWN = {k: v.clone() for k, v in resnet18(2, seed=7).state_dict().items()}


def of_torchvision():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return torchvision.models.resnet18(num_classes=5).state_dict()


TV = of_torchvision()
FORMS = {
    "plain": TV,
    "NVFlare's FL_global_model.pt": {"model": OrderedDict(TV), "train_conf": {}, "meta_props": {}},
    "checkpoint": {"model_state_dict": TV, "epoch": 3, "optimizer_state_dict": {"state": {}}},
    "Lightning": {"state_dict": {f"model.{k}": v for k, v in TV.items()}, "epoch": 3},
    "DataParallel": {f"module.{k}": v for k, v in TV.items()},
    "compiled": {f"_orig_mod.{k}": v for k, v in TV.items()},
    "compiled and parallel": {f"module._orig_mod.{k}": v for k, v in TV.items()},
    "backbone, another head": {
        f"backbone.{k}" if not k.startswith("fc.") else k: v for k, v in TV.items()
    },
    "without counters": {k: v for k, v in TV.items() if "num_batches" not in k},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_usual_form_gives_the_same_body(form):
    network = load_weights(resnet18(2, seed=0), state_of(FORMS[form], "w.pt"))
    loaded, fresh = network.state_dict(), resnet18(2, seed=0).state_dict()
    for name, value in TV.items():
        if not name.startswith("fc.") and "num_batches" not in name:
            assert torch.equal(loaded[f"features.{name}"], value), name
    assert torch.equal(loaded["fc.weight"], fresh["fc.weight"])  # five classes do not fit two


def test_a_head_of_the_same_size_is_taken():
    state = {f"module.{k}": v for k, v in OWN.items()}
    loaded = load_weights(resnet18(2, seed=0), state).state_dict()
    assert all(torch.equal(loaded[k], v) for k, v in OWN.items())


@pytest.mark.parametrize("dot", ["", "."])
def test_a_densenet_of_torchvision_old_and_new_is_one_of_monais(dot):
    state = {
        re.sub(r"(norm|conv)([12])\.", rf"\1{dot}\2.", k) if "denselayer" in k else k: v
        for k, v in torchvision.models.densenet121(num_classes=5).state_dict().items()
    }
    loaded = load_weights(densenet121(2, seed=0), state).state_dict()
    name = "features.denseblock1.denselayer1"
    assert torch.equal(loaded[f"{name}.layers.norm1.weight"], state[f"{name}.norm{dot}1.weight"])
    assert torch.equal(loaded["features.norm5.bias"], state["features.norm5.bias"])


def test_wrappers_of_all_names_are_taken_off_and_others_kept():
    assert list(unwrapped({"module._orig_mod.a": TV["fc.bias"]})) == ["a"]
    assert list(unwrapped({"module.a": TV["fc.bias"], "b": TV["fc.bias"]})) == ["module.a", "b"]


def test_a_networks_own_names_are_not_taken_for_a_wrapper():
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = nn.Linear(2, 2)
            self.head = nn.Linear(2, 1)

    source, target = Wrapped(), Wrapped()
    loaded = load_weights(target, source.state_dict()).state_dict()
    assert torch.equal(loaded["model.weight"], source.model.weight)


def test_what_was_matched_and_what_not_is_said(caplog):
    caplog.set_level(logging.INFO)
    state = {f"module.{k}": v for k, v in TV.items()} | {"module.extra": torch.ones(1)}
    load_weights(resnet18(2), state, "w.pt")
    assert "w.pt: 120 of the network's 122 tensors taken, read without 'module.' by" in caplog.text
    assert "kept as they were: fc.weight, fc.bias" in caplog.text
    assert "in the file and not used: fc.weight, fc.bias, features.extra" in caplog.text


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_diverged_are_refused_by_name(value):
    state = {**TV, "layer2.0.conv1.weight": TV["layer2.0.conv1.weight"] * value}
    with pytest.raises(WeightsError, match=r"NaN or inf in 'features\.layer2\.0\.conv1\.weight'"):
        load_weights(resnet18(2), state, "w.pt")


def test_another_network_is_refused_with_names_of_both_sides_and_changes_nothing():
    network = resnet18(2, seed=0)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    other = {f"module.{k}": v for k, v in torchvision.models.alexnet().state_dict().items()}
    message = r"'features\.conv1\.weight' is missing.*122 tensors.*have '.*features\.0\.weight'"
    with pytest.raises(WeightsError, match=message):
        load_weights(network, other)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([torch.ones(1)], "holds no state_dict"),
        ({"epoch": 3, "loss": 0.1}, "its keys are epoch, loss"),
        ({}, "holds no state_dict"),
        ({"model": TV, "state_dict": TV}, "several state dicts, under 'state_dict', 'model'"),
        ({"model": {"a": 1}}, "its keys are model"),
    ],
)
def test_what_holds_no_weights_or_several_is_refused(content, words):
    with pytest.raises(WeightsError, match=words):
        state_of(content, "w.pt")
