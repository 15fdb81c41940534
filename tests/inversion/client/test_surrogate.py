"""Tests of medleak.inversion.client.surrogate."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from medleak.inversion.client.surrogate import surrogate_statistics, surrogate_update
from medleak.inversion.client.training import Schedule, epochs_of, simulate


def make_network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Conv2d(6, 6, 3, stride=2),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(96, 3),
        ).double()


def problem(n, batch_size, epochs=1, **settings):
    g = torch.Generator().manual_seed(0)
    images = torch.rand(n, 3, 9, 9, generator=g, dtype=torch.float64)
    labels = torch.randint(3, (n,), generator=g)
    schedule = Schedule(batches=epochs_of(n, batch_size, epochs), lr=0.02, **settings)
    return make_network(), images, labels, schedule


def running(update):
    return {name: v for name, v in update.buffers.items() if "running" in name}


def gap(found, expected):
    """Relative distance of two updates, each as one vector."""
    a, b = (torch.cat([v.double().flatten() for v in u.values()]) for u in (found, expected))
    return float((a - b).norm() / b.norm())


def test_one_step_is_exact():
    network, images, labels, schedule = problem(3, 3)
    real = simulate(network, images, labels, schedule)
    found = surrogate_update(network, real.parameters, images, labels, schedule)
    for ours, theirs in ((found.parameters, real.parameters), (found.buffers, real.buffers)):
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            torch.testing.assert_close(ours[name], value)


@pytest.mark.parametrize(
    "settings",
    [{}, {"momentum": 0.9}, {"weight_decay": 0.1}],
)
def test_the_line_is_nearer_to_the_path_than_its_start_and_more_so_for_short_paths(settings):
    """At the true images; measured: 0.5 of the start's error for weights, 0.2 for statistics."""
    network, images, labels, schedule = problem(32, 2, epochs=2, **settings)
    errors = []
    for lr in (0.01, 0.001):
        schedule = replace(schedule, lr=lr)
        with torch.no_grad():
            real = simulate(network, images, labels, schedule)
            line, start = (
                surrogate_update(
                    network, real.parameters, images, labels, schedule, positions=positions
                )
                for positions in (None, torch.zeros(32, dtype=torch.float64))
            )
        errors.append(gap(line.parameters, real.parameters))
        assert errors[-1] < 0.6 * gap(start.parameters, real.parameters)
        assert gap(running(line), running(real)) < 0.5 * gap(running(start), running(real))
    assert errors[1] < 0.3 * errors[0]


def test_statistics_are_those_of_the_update_without_its_gradients():
    network, images, labels, schedule = problem(8, 2)
    real = simulate(network, images, labels, schedule)
    whole = surrogate_update(network, real.parameters, images, labels, schedule)
    alone = surrogate_statistics(network, real.parameters, images, schedule)
    for name, value in whole.buffers.items():
        torch.testing.assert_close(alone[name], value)


def test_gradients_reach_images_labels_and_positions():
    network, images, _, schedule = problem(4, 2)
    soft = torch.full((4, 3), 1 / 3, dtype=torch.float64).requires_grad_()
    observed = simulate(network, images, torch.zeros(4, dtype=torch.int64), schedule).parameters
    observed = {name: value.detach() for name, value in observed.items()}
    positions = torch.tensor([0.1, 0.6], dtype=torch.float64).requires_grad_()
    images = images.requires_grad_()

    def loss(x, y, p):
        update = surrogate_update(network, observed, x, y, schedule, positions=p)
        values = [*update.parameters.values(), *update.buffers.values()]
        return torch.stack([v.square().sum() for v in values]).sum()

    assert torch.autograd.gradcheck(loss, (images, soft, positions), fast_mode=True)


def test_positions_must_be_one_a_step():
    network, images, labels, schedule = problem(4, 2)
    observed = simulate(network, images, labels, schedule).parameters
    with pytest.raises(ValueError, match=r"positions has shape \(3,\), expected \(2,\)"):
        surrogate_update(network, observed, images, labels, schedule, positions=torch.zeros(3))
