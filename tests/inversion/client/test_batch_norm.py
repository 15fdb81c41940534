"""Tests of medleak.inversion.client.batch_norm; against real training: test_client."""

import torch
from torch import nn

from medleak.inversion.client.batch_norm import mixed_statistics, recorded_statistics
from medleak.inversion.client.training import Schedule, batch_statistics, epochs_of, simulate


def make_network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(294, 3)
        ).double()


def images_of(n):
    g = torch.Generator().manual_seed(0)
    return torch.rand(n, 3, 9, 9, generator=g, dtype=torch.float64)


def entering(network, images):
    """What enters the norm layer, [channel, positions]."""
    return network[0](images).transpose(0, 1).flatten(1)


def trained(network, images, lr=0.1, batch_size=None):
    schedule = Schedule(batches=epochs_of(len(images), batch_size or len(images)), lr=lr)
    return simulate(network, images, torch.zeros(len(images), dtype=torch.int64), schedule)


def test_recorded_are_the_mean_and_unbiased_variance_of_the_layers_input():
    network, images = make_network(), images_of(3)
    found = batch_statistics(network, dict(network.named_parameters()), images)
    flat = entering(network, images)
    torch.testing.assert_close(found["1"][0], flat.mean(1))
    torch.testing.assert_close(found["1"][1], flat.var(1, unbiased=True))


def test_recording_leaves_no_hook_behind():
    network = make_network()
    with recorded_statistics(network) as found:
        network(images_of(2))
    assert found.keys() == {"1"}
    assert not any(m._forward_pre_hooks for m in network.modules())


def test_mixed_statistics_of_one_step_are_the_batchs_own():
    network, images = make_network(), images_of(3)
    update = trained(network, images)
    flat = entering(network, images)
    mean, variance = mixed_statistics(network, update.buffers, 1)["1"]
    torch.testing.assert_close(mean, flat.mean(1))
    torch.testing.assert_close(variance, flat.var(1, unbiased=True))


def test_mixed_statistics_weigh_late_steps_more():
    """Notes section 4.2: w_k = m (1-m)^(K-1-k) / (1 - (1-m)^K)."""
    network, images = make_network(), images_of(3)
    update = trained(network, images, lr=1e-12, batch_size=1)
    means = network[0](images).flatten(2).mean(2)  # [step, channel]: the weights never move
    weights = torch.tensor([0.1 * 0.9**2, 0.1 * 0.9, 0.1], dtype=torch.float64) / (1 - 0.9**3)
    mean, _ = mixed_statistics(network, update.buffers, 3)["1"]
    torch.testing.assert_close(mean, (weights[:, None] * means).sum(0))
