"""Tests of medleak.inversion.client.simulation (beside the attacks, for their clients)."""

from collections.abc import Iterator

import pytest
import torch

from medleak.inversion.client.simulation import labels_of, schedule_of, simulation_of
from medleak.inversion.knowledge import Knowledge, KnowledgeError
from medleak.inversion.losses import relative_gradient_distance, statistics_distance


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    """MONAI's networks draw their weights from the global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def gap(update, observation):
    """Relative distance to the observed update, all parameters as one vector."""
    observed = list(observation.parameter_update.values())
    return float(relative_gradient_distance(update, observed).detach())


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"batch_size": 2},
        {"batch_size": 1, "epochs": 2},
        {"batch_size": 3, "epochs": 2},
        {"momentum": 0.9, "weight_decay": 0.01, "batch_size": 2},
        {"criterion": "bce"},
        {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4)},
    ],
)
def test_at_the_true_images_update_and_statistics_are_the_observed_ones(
    settings, observed, resnet_spec, smooth_images
):
    """In float64: what a float32 client adds is its rounding."""
    truth, labels = smooth_images(4), torch.tensor([0, 1, 1, 0])
    observation = observed(
        truth, labels, resnet_spec, dtype=torch.float64, **{"lr": 0.01} | settings
    )
    client = simulation_of(observation)
    client.network.double()
    update, statistics = client.update(truth.double(), labels)
    assert gap(update, observation) < 1e-5
    assert float(statistics_distance(statistics, observation.bn_statistics).detach()) < 1e-5


def test_forward_statistics_are_exact_for_one_step(observed, resnet_spec, smooth_images):
    truth, labels = smooth_images(4), torch.tensor([0, 1, 1, 0])
    observation = observed(truth, labels, resnet_spec)
    found = simulation_of(observation).statistics(truth)
    assert float(statistics_distance(found, observation.bn_statistics)) < 1e-4


def test_long_schedules_go_along_the_line(observed, resnet_spec, smooth_images):
    truth, labels = smooth_images(4), torch.tensor([0, 1, 1, 0])
    observation = observed(truth, labels, resnet_spec, lr=5e-4, batch_size=2, epochs=2)
    exact, line = (
        simulation_of(observation, unrolled_steps=k).update(truth, labels)[0] for k in (4, 3)
    )
    assert gap(exact, observation) < 0.02
    assert 0.02 < gap(line, observation) < 0.8


def test_the_schedule_is_the_clients(observed, smooth_images):
    truth, labels = smooth_images(3), torch.tensor([0, 1, 0])
    schedule = schedule_of(observed(truth, labels, batch_size=2, epochs=2, lr=0.3, momentum=0.5))
    assert schedule.batches == ((0, 1), (2,)) * 2
    assert (schedule.lr, schedule.momentum) == (0.3, 0.5)


def test_the_direction_of_one_step_needs_no_learning_rate(observed, smooth_images):
    truth, labels = smooth_images(2), torch.tensor([0, 1])
    without = Knowledge(lr=False)
    assert schedule_of(observed(truth, labels, knowledge=without)).lr == 1
    with pytest.raises(KnowledgeError, match="lr"):
        schedule_of(observed(truth, labels, batch_size=1, knowledge=without))


def test_known_inferred_and_optimised_labels(observed, smooth_images):
    truth, labels = smooth_images(4), torch.tensor([1, 0, 1, 1])
    found = {}
    for kind in ("known", "inferred", "optimised"):
        observation = observed(truth, labels, knowledge=Knowledge(labels=kind), seed=3)
        client = simulation_of(observation)
        found[kind] = labels_of(client, truth, torch.Generator().manual_seed(0))
    assert torch.equal(found["known"].fixed, labels)
    assert sorted(found["inferred"].fixed.tolist()) == sorted(labels.tolist())
    assert found["optimised"].fixed is None
    (unknown,) = found["optimised"].unknown
    assert unknown.shape == (4, 2)
    assert 0 <= float(unknown.min()) <= float(unknown.max()) <= 1


def test_inferred_labels_are_spread_over_the_steps(observed, smooth_images):
    truth, labels = smooth_images(4), torch.tensor([0, 1, 0, 1])
    observation = observed(truth, labels, batch_size=2, lr=1e-3, seed=3)
    found = labels_of(simulation_of(observation), truth, torch.Generator()).fixed
    assert found is not None
    assert found.view(2, 2).sum(1).tolist() == [1, 1]


def test_more_images_than_the_steps_can_hold_are_refused(observed, resnet_spec, smooth_images):
    truth, labels = smooth_images(4), torch.tensor([0, 1, 0, 1])

    def two_steps_only(name, value):
        return torch.full_like(value, 2) if name.endswith("num_batches_tracked") else value

    observation = observed(truth, labels, resnet_spec, batch_size=1, change=two_steps_only)
    with pytest.raises(ValueError, match="make 4 steps, the update counts 2"):
        schedule_of(observation)
