import pytest
import torch
from tests.inversion.membership.scores.told import told

from medleak.inversion.knowledge import Knowledge
from medleak.inversion.membership.scores.statistics import score


def test_members_are_told_whatever_the_optimiser_made_of_the_weights(
    observed, resnet_spec, smooth_images
):
    images = smooth_images(46)

    def bare(name, value):  # nothing but statistics leaves
        return value if "running" in name or "num_batches" in name else value * 0

    update = observed(images[:6], torch.arange(6) % 2, resnet_spec, change=bare)
    found = score(update, images[:26], None, images[26:])
    assert len(found) == 12  # norms of the network
    assert all(name.startswith("statistics/") for name in found)
    assert all(((v >= -1 - 1e-5) & (v <= 1 + 1e-5)).all() for v in found.values())
    assert told(found, 6) > 0.9


def test_a_client_that_had_neither_tells_nothing(observed, resnet_spec, smooth_images):
    images = smooth_images(66)
    update = observed(images[60:], torch.arange(6) % 2, resnet_spec)
    assert 0.25 < told(score(update, images[:40], None, images[40:60]), 20) < 0.75


def test_an_update_without_statistics_is_refused(observed, lenet_spec, resnet_spec, smooth_images):
    images, labels = smooth_images(4), torch.tensor([0, 1])
    with pytest.raises(ValueError, match="reveals no batch-norm statistics"):
        score(observed(images[:2], labels, lenet_spec), images, None, images)
    blind = observed(images[:2], labels, resnet_spec, knowledge=Knowledge(bn_statistics=False))
    with pytest.raises(ValueError, match="examines nothing"):
        score(blind, images, None, images)
