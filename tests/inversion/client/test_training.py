"""Tests of medleak.inversion.client.training."""

import copy
import gc
import weakref

import pytest
import torch
from torch import nn
from torch.nn import functional

from medleak.inversion.client.surrogate import surrogate_update
from medleak.inversion.client.training import Schedule, epochs_of, simulate
from medleak.inversion.losses import Criterion, task_loss


def make_network(norm=nn.BatchNorm2d, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            norm(6) if norm else nn.Identity(),
            nn.ReLU(),
            nn.Conv2d(6, 8, 3, stride=2),
            norm(8) if norm else nn.Identity(),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(32, 3),
        )
        for buffer in network.buffers():
            if buffer.is_floating_point():
                buffer.uniform_(0.5, 1.5)
    return network


def images_and_labels(n, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.rand(n, 3, 9, 9, generator=g), torch.randint(3, (n,), generator=g)


def real_training(network, images, labels, schedule, criterion: Criterion = "cross_entropy"):
    """A real torch.optim.SGD loop; returns local - global, buffers included."""
    local = copy.deepcopy(network).train()
    optimizer = torch.optim.SGD(
        local.parameters(),
        lr=schedule.lr,
        momentum=schedule.momentum,
        weight_decay=schedule.weight_decay,
    )
    rates = schedule.rates or (1.0,) * len(schedule.batches)
    for batch, rate in zip(schedule.batches, rates, strict=True):
        optimizer.param_groups[0]["lr"] = rate * schedule.lr
        optimizer.zero_grad()
        task_loss(criterion, local(images[list(batch)]), labels[list(batch)]).backward()
        optimizer.step()
    before, after = network.state_dict(), local.state_dict()
    return {name: after[name] - before[name] for name in after}


def frozen_training(network, images, labels, schedule):
    """The same of a client that keeps its norm layers in evaluation mode."""
    local = copy.deepcopy(network).train()
    for module in local.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    optimizer = torch.optim.SGD(local.parameters(), lr=schedule.lr)
    for batch in schedule.batches:
        optimizer.zero_grad()
        functional.cross_entropy(local(images[list(batch)]), labels[list(batch)]).backward()
        optimizer.step()
    before, after = network.state_dict(), local.state_dict()
    return {name: after[name] - before[name] for name in after}


def simulated(network, images, labels, schedule, **options):
    update = simulate(network, images, labels, schedule, **options)
    return {**update.parameters, **update.buffers}


@pytest.mark.parametrize("surrogate", [False, True])
def test_norm_layers_in_evaluation_mode_stay_there(surrogate):
    network = make_network()
    images, labels = images_and_labels(4)
    schedule = Schedule(batches=epochs_of(4, 4), lr=0.05)
    real = frozen_training(network, images, labels, schedule)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    if surrogate:
        observed = {n: real[n] for n, _ in network.named_parameters()}
        made = surrogate_update(network, observed, images, labels, schedule)
        found = {**made.parameters, **made.buffers}
    else:
        found = simulated(network, images, labels, schedule)
    assert any(n.endswith("running_mean") for n in real)
    for name, value in real.items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-5, msg=name)


@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("steps", [1, 2, 8])
@pytest.mark.parametrize(("momentum", "weight_decay"), [(0.0, 0.0), (0.9, 0.01)])
def test_equals_a_real_sgd_loop(steps, batch_size, momentum, weight_decay, checkpoint):
    network = make_network()
    images, labels = images_and_labels(steps * batch_size)
    schedule = Schedule(
        batches=epochs_of(len(images), batch_size),
        lr=0.05,
        momentum=momentum,
        weight_decay=weight_decay,
    )
    assert len(schedule.batches) == steps
    found = simulated(network, images, labels, schedule, checkpoint=checkpoint)
    for name, value in real_training(network, images, labels, schedule).items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-5, msg=name)


@pytest.mark.parametrize("criterion", ["cross_entropy", "bce"])
@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_equals_sgd_over_several_epochs_with_a_short_last_batch(criterion, momentum):
    network = make_network()
    images, labels = images_and_labels(6)
    schedule = Schedule(batches=epochs_of(6, 4, epochs=3), lr=0.1, momentum=momentum)
    assert [len(b) for b in schedule.batches] == [4, 2] * 3
    found = simulated(network, images, labels, schedule, criterion=criterion)
    for name, value in real_training(network, images, labels, schedule, criterion).items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-5, msg=name)


def test_equals_sgd_whose_learning_rate_changes_within_the_round():
    network = make_network()
    images, labels = images_and_labels(3)
    schedule = Schedule(batches=epochs_of(3, 1), lr=0.1, momentum=0.9, rates=(0.0, 1.0, 0.5))
    found = simulated(network, images, labels, schedule)
    for name, value in real_training(network, images, labels, schedule).items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-5, msg=name)


@pytest.mark.parametrize("norm", [lambda c: nn.BatchNorm2d(c, momentum=None), None])
def test_cumulative_and_absent_running_statistics_are_as_in_training(norm):
    network = make_network(norm)
    images, labels = images_and_labels(4)
    schedule = Schedule(batches=epochs_of(4, 2), lr=0.1)
    found = simulated(network, images, labels, schedule)
    real = real_training(network, images, labels, schedule)
    assert found.keys() == real.keys()
    for name, value in real.items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-5, msg=name)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_checkpointing_changes_no_gradient(momentum):
    network = make_network().double()
    images, labels = images_and_labels(4)
    schedule = Schedule(batches=epochs_of(4, 1), lr=0.1, momentum=momentum)
    found = []
    for checkpoint in (False, True):
        x = images.double().requires_grad_()
        update = simulated(network, x, labels, schedule, checkpoint=checkpoint)
        loss = torch.stack([v.square().sum() for v in update.values() if v.requires_grad]).sum()
        found.append(torch.autograd.grad(loss, x)[0])
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-12)


def test_the_gradient_to_images_and_labels_is_the_numerical_one():
    network = make_network().double()
    images, _ = images_and_labels(2)
    soft = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], dtype=torch.float64)
    schedule = Schedule(batches=epochs_of(2, 1, 2), lr=0.3, momentum=0.5, weight_decay=0.1)

    def loss(x, y):
        update = simulated(network, x, y, schedule)
        return torch.stack([v.square().sum() for v in update.values()]).sum()

    x, y = images.double().requires_grad_(), soft.requires_grad_()
    assert torch.autograd.gradcheck(loss, (x, y), fast_mode=True)


def test_the_network_is_left_as_it_was_in_mode_weights_buffers_and_grads():
    network = make_network().train()
    network[1].eval()
    before = {name: t.clone() for name, t in network.state_dict().items()}
    modes = [m.training for m in network.modules()]
    images, labels = images_and_labels(4)
    schedule = Schedule(batches=epochs_of(4, 2), lr=0.1)
    first = simulated(network, images.requires_grad_(), labels, schedule)
    assert [m.training for m in network.modules()] == modes
    assert all(p.grad is None for p in network.parameters())
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    assert not network._forward_pre_hooks
    second = simulated(network, images, labels, schedule)
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], rtol=0, atol=0)


def test_without_gradients_nothing_keeps_a_graph():
    images, labels = images_and_labels(2)
    with torch.no_grad():
        update = simulated(
            make_network(), images, labels, Schedule(batches=epochs_of(2, 1), lr=0.1)
        )
    assert not any(v.requires_grad for v in update.values())
    assert all(torch.isfinite(v).all() for v in update.values())


def test_checkpointing_keeps_less_than_the_graph_of_all_steps():
    network = make_network()
    images, labels = torch.rand(8, 3, 32, 32), torch.zeros(8, dtype=torch.int64)
    schedule = Schedule(batches=epochs_of(8, 1), lr=0.1)

    class Kept:
        def __init__(self, tensor):
            self.tensor = tensor

    def saved_bytes(checkpoint):
        alive: weakref.WeakSet[Kept] = weakref.WeakSet()

        def pack(tensor):
            kept = Kept(tensor)
            alive.add(kept)
            return kept

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor):
            x = images.clone().requires_grad_()
            update = simulated(network, x, labels, schedule, checkpoint=checkpoint)
        assert update
        gc.collect()
        tensors = {kept.tensor.data_ptr(): kept.tensor for kept in alive}
        return sum(t.numel() * t.element_size() for t in tensors.values())

    assert saved_bytes(True) < 0.25 * saved_bytes(False)


class Attending(nn.Module):
    """Attention as most networks call it, and a parameter that nothing uses."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 3, stride=3)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 3)
        self.unused = nn.Parameter(torch.ones(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        mixed, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        return self.head(mixed.mean(1))


def test_a_gradient_through_attention_has_a_gradient_to_the_images():
    torch.manual_seed(0)
    images, labels = images_and_labels(2)
    images = images.double().requires_grad_()
    network = Attending().double()

    def size_of_update(x):
        update = simulate(network, x, labels, Schedule(batches=((0, 1),), lr=1.0)).parameters
        assert not update["unused"].any()
        return torch.stack([v.square().sum() for v in update.values()]).sum()

    assert torch.autograd.gradcheck(size_of_update, images)


def test_dropout_is_off_and_restored():
    network = nn.Sequential(make_network(), nn.Dropout(0.9))
    images, labels = images_and_labels(2)
    schedule = Schedule(batches=epochs_of(2, 2), lr=0.1)
    first, second = (simulated(network, images, labels, schedule) for _ in range(2))
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], rtol=0, atol=0)
    assert network[1].training


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batches": ()}, "there must be a step"),
        ({"batches": ((0,), ())}, "at least one image"),
        ({"lr": 0.0}, "lr must be positive, got 0.0"),
        ({"lr": float("nan")}, "lr must be positive, got nan"),
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\), got 1.0"),
        ({"rates": (0.5, 1.0)}, "for 1 optimiser steps: each needs one"),
        ({"rates": (0.0,)}, "one of them must move"),
        ({"weight_decay": -0.1}, "weight_decay must be at least 0, got -0.1"),
    ],
)
def test_an_impossible_schedule_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Schedule(**{"batches": ((0,),), "lr": 0.1} | settings)


def test_a_schedule_for_more_images_than_there_are_is_refused():
    images, labels = images_and_labels(2)
    with pytest.raises(ValueError, match=r"images 0 to 2, but there are 2"):
        simulate(make_network(), images, labels, Schedule(batches=((0, 2),), lr=0.1))
    with pytest.raises(ValueError, match="1 labels for 2 images"):
        simulate(make_network(), images, labels[:1], Schedule(batches=((0,),), lr=0.1))
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        epochs_of(4, 0)
