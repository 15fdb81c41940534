"""Tests of medleak.inversion.evidence.declared_input: a wrong normalisation is contradicted."""

import re

import numpy as np
import pytest
import torch
import torchvision
from tests.inversion.measures.films import films

from medleak.custom.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from medleak.custom.networks import resnet18, resnet18_groupnorm
from medleak.custom.record import InputSpec, Manifest, ModelSpec, Record, TaskSpec, UpdateInfo
from medleak.filters import NoiseSource, defence
from medleak.inversion.attacks.reconstruct import observe_update
from medleak.inversion.evidence.declared_input import contradiction
from medleak.inversion.knowledge import Knowledge
from medleak.inversion.observation import observe

pytestmark = pytest.mark.slow

IMAGENET = (IMAGENET_MEAN, IMAGENET_STD)
PIXELS = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def observed(used, declared, images=None, noise=0.0, network=None, channels=1):
    """One step on ``images`` that are normalised as ``used``, recorded as ``declared``."""
    torch.manual_seed(0)
    network = network or resnet18()
    mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in used)
    images = films(2) if images is None else images
    sent = {k: v.clone() for k, v in network.state_dict().items()}
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    network.train()
    x = (images.expand(-1, mean.shape[1], -1, -1) - mean) / std
    network(x).square().mean().backward()
    optimizer.step()
    update = {k: v.float() - sent[k].float() for k, v in network.state_dict().items()}
    for name, value in update.items():
        if name.endswith("running_mean"):
            value += noise * torch.randn_like(value)
    network.load_state_dict(sent)
    return observe_update(
        network, update, spatial_size=(64, 64), n_images=len(images), channels=channels,
        mean=declared[0], std=declared[1],
    )  # fmt: skip


@pytest.mark.parametrize("norm", [IMAGENET, PIXELS, HALF])
@pytest.mark.parametrize("modality", ["cxr", "brain_mri"])
def test_a_right_declaration_is_not_contradicted(norm, modality):
    images = films(2) if modality == "cxr" else films(2).square()
    assert not contradiction(observed(norm, norm, images))


def test_a_wrong_one_is_and_the_one_that_fits_is_named():
    text = contradiction(observed(IMAGENET, PIXELS))
    assert (
        "normalised with mean (0, 0, 0) and std (1, 1, 1), as the attack takes them to be" in text
    )
    assert "they fit mean (0.485, 0.456, 0.406) and std (0.229, 0.224, 0.225)" in text
    assert contradiction(observed(IMAGENET, HALF))
    assert contradiction(observed(PIXELS, IMAGENET))


def test_a_mean_outside_of_what_pixels_can_be_is_seen_with_one_channel_and_in_colour():
    dark = films(2) * 0.3
    first = torchvision.models.resnet18(num_classes=2)
    first.conv1 = torch.nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    one = (((0.5,), (0.5,)), ((0.0,), (1.0,)))
    assert contradiction(observed(*one, images=dark, network=first))
    colour = dark.expand(-1, 3, -1, -1)
    assert contradiction(observed(IMAGENET, PIXELS, images=colour, channels=3))
    assert not contradiction(observed(IMAGENET, IMAGENET, images=colour, channels=3))


def test_noise_that_hides_the_statistics_contradicts_nothing():
    for noise in (1.0, 10.0):
        assert not contradiction(observed(IMAGENET, IMAGENET, noise=noise))
        assert not contradiction(observed(IMAGENET, PIXELS, noise=10 * noise))


def test_without_statistics_or_a_linear_start_nothing_is_said():
    bare = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Flatten(), torch.nn.LazyLinear(2))
    bare(torch.zeros(1, 3, 64, 64))
    assert not contradiction(observed(IMAGENET, PIXELS, network=bare))
    bent = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.BatchNorm2d(8),
        torch.nn.Flatten(), torch.nn.LazyLinear(2),
    )  # fmt: skip
    bent(torch.zeros(1, 3, 64, 64))
    assert not contradiction(observed(IMAGENET, PIXELS, network=bent))


def trained(images, *, batch=None, epochs=1, lr=0.01, norm="batch", spec=None, said=None, **sgd):
    """A round of SGD on ``images`` [N, 1, 64, 64], behind ``spec``, of which ``said`` is said."""
    torch.manual_seed(0)
    network = {"batch": resnet18, "group": resnet18_groupnorm}[norm]().train()
    sent = {k: v.clone() for k, v in network.state_dict().items()}
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, **sgd)
    batch = batch or len(images)
    for _ in range(epochs):
        for x in images.expand(-1, 3, -1, -1).split(batch):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(x), torch.arange(len(x)) % 2).backward()
            optimizer.step()
    update = {k: (v - sent[k]).numpy() for k, v in network.state_dict().items()}
    if spec is not None:
        before = {k: v.numpy() for k, v in sent.items()}
        left = defence(spec)(update, rng=NoiseSource.seeded(0), global_state=before)
        update = {k: np.asarray(v) for k, v in left.items()}
    network.load_state_dict(sent)
    told = {
        "n_images": len(images), "batch_size": batch, "local_epochs": epochs,
        "n_steps": epochs * -(-len(images) // batch), "lr": lr, **sgd,
    } | {k: v for k, v in (said or {}).items() if k != "size"}  # fmt: skip
    manifest = Manifest(
        job="test", created="2026-01-01T00:00:00Z", task=TaskSpec(num_classes=2),
        model=ModelSpec(path="medleak.custom.networks.resnet18"),
        input=InputSpec(spatial_size=((said or {}).get("size", 64),) * 2, channels=1),
    )  # fmt: skip
    info = UpdateInfo(round=0, site="site-1", time="2026-01-01T00:00:00Z", **told)
    state = {k: v.numpy() for k, v in sent.items()}
    return observe(Record(manifest, info, state, update), Knowledge(), network=network)


@pytest.mark.parametrize("said", [{"size": 32}, {"n_images": 1, "batch_size": 1}])
def test_more_directions_than_patches_contradict_size_or_number(said):
    text = contradiction(trained(films(2), said=said))
    assert re.search(r"the update of \S+ has \d+ directions, where [12] images? of ", text)
    assert "size, number or schedule are not as the attack takes them to be" in text


@pytest.mark.parametrize(
    "round",
    [
        {},
        {"batch": 1, "epochs": 4, "lr": 0.1},
        {"momentum": 0.9, "weight_decay": 0.01, "epochs": 3},
        {"norm": "group"},
        {"spec": "percentile_gaussian:sigma0=1"},
        {"spec": "clipped_gaussian:max_grad_norm=1,noise_multiplier=0.01"},
        {"spec": "top_k:fraction=0.1"},
        {"spec": "random_k:fraction=0.5"},
        {"spec": "quantisation:bits=8"},
        {"spec": "quantisation:bits=2"},
        {"spec": "sign"},
    ],
    ids=str,
)
def test_a_round_as_it_is_said_to_be_has_no_more_directions_than_its_images(round):
    assert not contradiction(trained(films(3), **round))


def test_fewer_directions_than_there_could_be_contradict_nothing():
    assert not contradiction(trained(films(2), said={"n_images": 4, "batch_size": 4}))
    assert not contradiction(trained(films(2), said={"optimizer": "adam"}))
