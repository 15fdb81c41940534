"""Tests of medleak.inversion.observation: an attack sees what its knowledge grants."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from medleak.custom.record import (
    InputSpec,
    Manifest,
    ModelSpec,
    Record,
    TaskSpec,
    UnknownError,
    UpdateInfo,
)
from medleak.inversion.client.simulation import schedule_of
from medleak.inversion.client.single_step import single_step
from medleak.inversion.knowledge import Knowledge, KnowledgeError
from medleak.inversion.networks import build_network
from medleak.inversion.observation import normalisation, observe

ARGS = {
    "block": "basic",
    "layers": [1, 1, 1, 1],
    "block_inplanes": [4, 4, 4, 4],
    "spatial_dims": 2,
    "n_input_channels": 3,
    "num_classes": 2,
}


def make_record(n_steps=1, counters=True, statistics=True, **info):
    """A record whose update is 0.5 everywhere; running means start at 2."""
    network = build_network("monai.networks.nets.ResNet", ARGS)
    state = {k: v.numpy() for k, v in network.state_dict().items()}
    state |= {k: np.full_like(v, 2.0) for k, v in state.items() if k.endswith("running_mean")}
    update = {k: np.full_like(v, 0.5) for k, v in state.items()}
    update |= {k: np.full_like(v, n_steps) for k, v in state.items() if k.endswith("tracked")}
    if not counters:
        update = {k: v for k, v in update.items() if not k.endswith("tracked")}
    if not statistics:
        update = {k: v for k, v in update.items() if "running" not in k}
    return Record(
        manifest=Manifest(
            job="test",
            created="2026-01-01T00:00:00Z",
            model=ModelSpec(path="monai.networks.nets.ResNet", args=ARGS),
            task=TaskSpec(num_classes=2),
            input=InputSpec(
                spatial_size=(32, 24), channels=1, mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0)
            ),
        ),
        info=UpdateInfo(
            **{
                "round": 3, "site": "site-9", "time": "2026-01-01T00:00:00Z", "n_images": 6,
                "n_steps": n_steps, "batch_size": 4, "local_epochs": 1, "lr": 0.25,
            } | info
        ),
        global_state=state,
        update=update,
    )  # fmt: skip


NEEDS = {
    "global_model": lambda o: o.network(),
    "bn_statistics": lambda o: o.bn_statistics,
    "batch_size": lambda o: o.batch_size,
    "lr": lambda o: o.gradient,
    "n_images": lambda o: o.n_images,
}


@pytest.mark.parametrize("field", NEEDS)
def test_what_is_withheld_raises_by_name_and_what_is_granted_does_not(field):
    record = make_record()
    NEEDS[field](observe(record, Knowledge()))
    withheld = observe(record, replace(Knowledge(), **{field: False}))
    with pytest.raises(KnowledgeError, match=f"{field} is withheld"):
        NEEDS[field](withheld)


def test_the_gradient_is_minus_the_update_over_the_learning_rate():
    gradient = observe(make_record(), Knowledge()).gradient
    assert all(torch.equal(g, torch.full_like(g, -2.0)) for g in gradient.values())
    assert not any("running" in name for name in gradient)


@pytest.mark.parametrize("steps", [1, 3])
def test_statistics_are_unmixed_from_the_running_ones(steps):
    kept = 0.9**steps
    mean, _ = observe(make_record(steps), Knowledge()).bn_statistics["bn1"]
    # (r_K - (1-m)^K r_0) / (1 - (1-m)^K) with r_0 = 2, r_K = 2.5 and m = 0.1.
    torch.testing.assert_close(mean, torch.full_like(mean, (2.5 - kept * 2) / (1 - kept)))


def test_unmixed_statistics_are_those_of_the_batches_as_pytorch_runs_them():
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4)
    before = {k: v.clone() for k, v in norm.state_dict().items()}
    batches = [torch.randn(2, 4, 3, 3) for _ in range(3)]
    for batch in batches:
        norm(batch)
    record = make_record(3)
    for k, v in norm.state_dict().items():
        record.global_state[f"bn1.{k}"] = before[k].numpy()
        record.update[f"bn1.{k}"] = (v - before[k]).detach().numpy()
    observation = observe(record, Knowledge())
    weights = observation.bn_step_weights("bn1")
    assert weights.sum().item() == pytest.approx(1)
    expected = torch.stack([b.mean((0, 2, 3)) for b in batches], 1) @ weights
    torch.testing.assert_close(observation.bn_statistics["bn1"][0], expected, rtol=1e-4, atol=1e-5)


def test_an_update_under_fedbn_shows_no_statistics_whatever_is_granted():
    observation = observe(make_record(statistics=False), Knowledge())
    assert not observation.has_bn_statistics
    with pytest.raises(KnowledgeError):
        _ = observation.bn_statistics


def test_gray_is_looked_for_only_if_it_is_known():
    assert observe(make_record(), Knowledge()).image_channels == 1
    assert observe(make_record(), Knowledge(channels=False)).image_channels == 3


def test_normalisation_repeats_gray_and_acts_per_channel():
    found = observe(make_record(), Knowledge()).normalise(torch.full((2, 1, 3, 3), 0.6))
    assert found.shape == (2, 3, 3, 3)
    torch.testing.assert_close(found[0, :, 0, 0], torch.tensor([1.0, 0.4, 0.15]))


def test_what_an_attack_does_to_its_copies_nobody_sees():
    record = make_record()
    before = {k: v.copy() for k, v in record.global_state.items()}
    observation = observe(record, Knowledge())
    with torch.no_grad():
        for parameter in observation.network().parameters():
            parameter.zero_()
        for value in observation.parameter_update.values():
            value.zero_()
    assert all(
        p.abs().sum() > 0 for n, p in observation.network().named_parameters() if "conv" in n
    )
    assert all(v.abs().sum() > 0 for v in observation.parameter_update.values())
    assert all(np.array_equal(v, before[k]) for k, v in record.global_state.items())
    assert observation.network().training


def test_known_labels_are_given_and_others_refused():
    labels = torch.tensor([0, 1, 0, 1, 0, 1])
    known = observe(make_record(), Knowledge(labels="known"), labels=labels)
    assert torch.equal(known.labels, labels)
    with pytest.raises(KnowledgeError):
        _ = observe(make_record(), Knowledge()).labels
    with pytest.raises(ValueError, match="labels are given"):
        observe(make_record(), Knowledge(), labels=labels)
    with pytest.raises(ValueError, match="labels are missing"):
        observe(make_record(), Knowledge(labels="known"))


def test_an_update_that_lacks_a_parameter_is_refused_by_name():
    record = make_record()
    del record.update["conv1.weight"]
    with pytest.raises(ValueError, match=r"site-9 lacks .* 'conv1.weight'"):
        observe(record, Knowledge())


def test_a_stale_global_model_takes_the_place_of_the_rounds_own():
    record = make_record()
    stale = {k: np.full_like(v, 3.0) for k, v in record.global_state.items()}
    observation = observe(record, Knowledge(model_round="previous"), stale_global=stale)
    assert all(float(p.detach().min()) == 3.0 for p in observation.network().parameters())
    name = observation.parameter_names[0]
    assert float(observation.parameter_update[name].max()) == 0.5


@pytest.mark.parametrize("age", ["previous", "initial"])
def test_a_stale_global_model_is_given_if_and_only_if_knowledge_says_so(age):
    record = make_record()
    with pytest.raises(ValueError, match="stale global model is missing"):
        observe(record, Knowledge(model_round=age))
    with pytest.raises(ValueError, match="stale global model is given"):
        observe(record, Knowledge(), stale_global=record.global_state)


def with_manifest(record, **change):
    return replace(record, manifest=record.manifest.model_copy(update=change))


@pytest.mark.parametrize("field", ["model", "input"])
def test_a_network_or_a_size_that_nobody_said_is_asked_for(field):
    with pytest.raises(UnknownError, match=f"Not known: .*--{field}"):
        observe(with_manifest(make_record(), **{field: None}), Knowledge())


def test_unknown_normalisation_is_none_and_follows_the_network():
    plain = InputSpec(spatial_size=(32, 24), channels=1)
    seen = observe(with_manifest(make_record(), input=plain), Knowledge())
    assert (seen.mean, seen.std) == ((0.0,) * 3, (1.0,) * 3)
    assert normalisation(plain, torch.nn.Conv2d(1, 4, 3)) == ((0.0,), (1.0,))
    old = InputSpec(spatial_size=(8, 8), channels=1, mean=(0.0,) * 3, std=(1.0,) * 3)
    assert normalisation(old, torch.nn.Conv2d(1, 4, 3)) == ((0.0,), (1.0,))
    three = InputSpec(spatial_size=(8, 8), channels=1, mean=(0.1, 0.2, 0.3))
    with pytest.raises(ValueError, match=r"3 values of mean and the network takes 1 channels"):
        normalisation(three, torch.nn.Conv2d(1, 4, 3))
    four = InputSpec(spatial_size=(8, 8), channels=4)
    with pytest.raises(ValueError, match="have 4 channels and the network takes 3"):
        normalisation(four, torch.nn.Conv2d(3, 4, 3))


def test_volumes_of_four_channels_are_observed():
    network = torch.nn.Sequential(
        torch.nn.Conv3d(4, 2, 3), torch.nn.AdaptiveAvgPool3d(1), torch.nn.Flatten()
    )
    state = {k: v.numpy() for k, v in network.state_dict().items()}
    mean, std = (0.1, 0.2, 0.3, 0.4), (1.0, 2.0, 1.0, 2.0)
    spec = InputSpec(spatial_size=(8, 7, 6), channels=4, mean=mean, std=std)
    record = with_manifest(make_record(), input=spec)
    record = replace(record, global_state=state, update=state)
    seen = observe(record, Knowledge(), network=network)
    assert (seen.spatial_size, seen.image_channels) == ((8, 7, 6), 4)
    images = torch.rand(2, 4, 8, 7, 6)
    expected = (images[:, 1] - 0.2) / 2
    torch.testing.assert_close(seen.normalise(images)[:, 1], expected)


def test_what_the_record_does_not_say_is_missed_by_those_alone_who_need_it():
    silent = UpdateInfo(round=3, site="site-9", time="2026-01-01T00:00:00Z")
    record = with_manifest(replace(make_record(counters=False), info=silent), task=None)
    seen = observe(record, Knowledge())
    assert set(seen.parameter_update) == set(seen.parameter_names)
    with pytest.raises(UnknownError, match="learning rate"):
        _ = seen.gradient
    assert observe(with_manifest(make_record(), task=None), Knowledge()).bn_statistics


def test_a_client_trained_on_masks_is_refused_before_an_attack_starts():
    task = TaskSpec(num_classes=2, criterion="segmentation_cross_entropy")
    masks = with_manifest(make_record(), task=task)
    for attack in (single_step, schedule_of):
        with pytest.raises(ValueError, match=r"trained on masks.*Use row_space"):
            attack(observe(masks, Knowledge()))


def test_norm_layers_that_did_not_move_are_in_evaluation_mode():
    record = make_record()
    still = {k: np.zeros_like(v) for k, v in record.update.items() if k.startswith("bn1.running")}
    observation = observe(replace(record, update={**record.update, **still}), Knowledge())
    assert observation.frozen_norms == ("bn1",)
    network = observation.network()
    norms = {n: m for n, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)}
    assert [n for n, m in norms.items() if not m.training] == ["bn1"]
    assert all(m.training for m in observe(record, Knowledge()).network().modules())
    hidden = observe(
        replace(record, update={**record.update, **still}), Knowledge(bn_statistics=False)
    )
    assert all(m.training for m in hidden.network().modules())
