import pytest
import torch

from medleak.inversion.knowledge import Knowledge
from medleak.inversion.membership.networks import mean_progress, network_at


def test_weights_are_so_far_on_their_way_and_statistics_those_revealed(
    observed, resnet_spec, smooth_images
):
    images = smooth_images(4)
    update = observed(images, torch.arange(4) % 2, resnet_spec)
    network = network_at(update, 0.5)
    assert not network.training
    before = dict(update.network().named_parameters())
    for name, p in network.named_parameters():
        assert torch.allclose(p, before[name] + 0.5 * update.parameter_update[name])
    for name, (mean, variance) in update.bn_statistics.items():
        layer = network.get_submodule(name)
        assert torch.allclose(layer.get_buffer("running_mean"), mean)
        assert torch.allclose(layer.get_buffer("running_var"), variance.clamp_min(1e-6))


def test_without_revealed_statistics_those_of_the_global_model_stay(
    observed, resnet_spec, smooth_images
):
    images = smooth_images(4)
    update = observed(
        images, torch.arange(4) % 2, resnet_spec, knowledge=Knowledge(bn_statistics=False)
    )
    before = update.network()
    for name, buffer in network_at(update, 1.0).named_buffers():
        assert torch.equal(buffer, before.get_buffer(name))


@pytest.mark.parametrize("progress", [0.0, 1.0])
def test_the_observation_is_left_as_it_was(observed, lenet_spec, smooth_images, progress):
    update = observed(smooth_images(2), torch.tensor([0, 1]), lenet_spec)
    before = {k: v.clone() for k, v in update.network().state_dict().items()}
    network_at(update, progress)
    assert all(torch.equal(v, before[k]) for k, v in update.network().state_dict().items())


@pytest.mark.parametrize(("batch", "progress"), [(4, 0.0), (2, 0.5), (1, 0.5)])
def test_a_rounds_steps_were_made_on_the_way(observed, resnet_spec, smooth_images, batch, progress):
    images, labels = smooth_images(4), torch.arange(4) % 2
    update = observed(images, labels, resnet_spec, batch_size=batch)
    assert mean_progress(update) == progress
    blind = Knowledge(bn_statistics=False, batch_size=False)
    update = observed(images, labels, resnet_spec, batch_size=batch, knowledge=blind)
    assert mean_progress(update) == 0.5
