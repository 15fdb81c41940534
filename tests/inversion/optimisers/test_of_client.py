"""A client's own optimiser, and when its step can be undone."""

import dataclasses

import pytest
import torch
from torch import nn

from medleak.custom.record import InputSpec, Manifest, ModelSpec, Record, TaskSpec, UpdateInfo
from medleak.inversion.knowledge import Knowledge
from medleak.inversion.networks import build_network
from medleak.inversion.observation import observe
from medleak.inversion.optimisers.of_client import adds_gradients, rule_of, undone_steps

MODEL = ModelSpec(path="medleak.custom.small_networks.lenet", args={"spatial_size": 16})


def record(kind=torch.optim.Adam, *, steps=1, **info) -> Record:
    torch.manual_seed(0)
    network = build_network(MODEL.path, MODEL.args)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    optimizer = kind(network.parameters(), lr=1e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(torch.rand(1, 3, 16, 16)), torch.tensor([1])).backward()
        optimizer.step()
    update = {k: (v - before[k]).detach().numpy() for k, v in network.state_dict().items()}
    said = {"optimizer": "adam", "lr": 1e-3, "n_steps": steps} | info
    return Record(
        Manifest(
            job="j",
            created="now",
            model=MODEL,
            task=TaskSpec(num_classes=network(torch.rand(1, 3, 16, 16)).shape[1]),
            input=InputSpec(spatial_size=(16, 16), channels=1),
        ),
        UpdateInfo(
            round=0, site="s", time="now", n_images=1, batch_size=1, local_epochs=steps, **said
        ),
        {k: v.numpy() for k, v in before.items()},
        update,
    )


def test_the_gradient_of_a_first_step_comes_back():
    made = record()
    undone = undone_steps(observe(made, Knowledge()))
    assert undone is not None
    torch.manual_seed(0)
    network = build_network(MODEL.path, MODEL.args)
    network.load_state_dict({k: torch.as_tensor(v) for k, v in made.global_state.items()})
    nn.functional.cross_entropy(network(torch.rand(1, 3, 16, 16)), torch.tensor([1])).backward()
    read = 0
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        true, found, error = parameter.grad, undone.gradient[name], undone.error[name]
        known = error.isfinite()
        read += int((known & (found != 0)).sum())
        off = (true - found).abs()[known]
        near = off <= 6 * error[known] + 1e-3 * true.abs()[known]
        assert near.double().mean() > 0.999 or not known.any()
        bound, beyond = found[~known], true[~known]
        assert (bound.sign() * beyond >= 0.5 * bound.abs()).all()
    assert read > 100


@pytest.mark.parametrize(
    "other",
    [{"optimizer": "sgd"}, {"state_kept": True, "round": 3}, {"optimizer": None}],
)
def test_nothing_else_is_undone(other):
    made = record()
    info = UpdateInfo(**{**made.info.model_dump(exclude={"sources"}), **other})
    assert undone_steps(observe(dataclasses.replace(made, info=info), Knowledge())) is None


def test_several_steps_are_not_undone():
    assert undone_steps(observe(record(steps=3), Knowledge())) is None


def test_the_rule_is_as_declared():
    rule = rule_of(observe(record(betas=(0.8, 0.99), eps=1e-6, clip_norm=1.0), Knowledge()))
    assert (rule.name, rule.betas, rule.eps, rule.clip_norm) == ("adam", (0.8, 0.99), 1e-6, 1.0)


@pytest.mark.parametrize(
    ("name", "linear"),
    [("sgd", True), ("sgd_fedprox", True), (None, True), ("adamw", False), ("rmsprop", False)],
)
def test_only_sgd_and_its_kin_add_gradients(name, linear):
    assert adds_gradients(observe(record(optimizer=name), Knowledge())) is linear
