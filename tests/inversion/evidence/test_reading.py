"""Tests of what sources read from."""

import pytest
import torch
from tests.inversion.evidence.rounds import client, smooth, trained_once
from torchvision.models.convnext import CNBlockConfig, ConvNeXt

from medleak.inversion.evidence.reading import Reading


@pytest.mark.parametrize("statistics", [True, False])
def test_norms_in_evaluation_mode_are_told_by_statistics_or_by_ranks(statistics):
    truth, labels = smooth(1), torch.tensor([1])
    assert Reading(client(truth, labels, statistics=statistics)).frozen == ()
    frozen = Reading(client(truth, labels, statistics=statistics, frozen=True))
    assert frozen.frozen
    assert frozen.statistics == {}
    assert frozen.probe.norms == ()


def test_row_spaces_of_frozen_norms_are_not_centred():
    reading = Reading(client(smooth(1), torch.tensor([1]), frozen=True))
    spans = reading.row_spaces
    assert spans
    assert {s.conv.centred for s in spans.values()} == {"none"}
    assert all(s.space.gap > 10 for s in spans.values())


@pytest.mark.parametrize(("lr", "drifted"), [(1e-4, False), (0.1, True)])
def test_ranks_tell_whether_weights_moved_between_visits_of_a_batch(lr, drifted):
    reading = Reading(client(smooth(1), torch.tensor([1]), epochs=3, lr=lr))
    assert reading.drifted is drifted
    assert [s.visits for s in reading.steps] == [3 if drifted else 1]
    assert bool(reading.statistics) is not drifted  # mixed at weights that nobody knows
    assert reading.row_spaces


def test_noise_is_told_by_what_should_be_zero():
    reading = Reading(client(smooth(1), torch.tensor([1])))
    assert reading.sigma is not None
    assert 0 < reading.sigma < 1e-6


def test_an_update_below_the_last_digit_of_its_weights_has_no_row_space():
    torch.manual_seed(0)
    stages = [CNBlockConfig(16, 32, 1), CNBlockConfig(32, None, 1)]
    network = ConvNeXt(stages, num_classes=2)  # branches begin with a scale of 1e-6
    reading = Reading(trained_once(network, smooth(1), torch.tensor([1])))
    noise = {name: span.space.noise for name, span in reading.row_spaces.items()}
    assert noise.pop("features.2.1") < 1e-9
    assert noise
    assert min(noise.values()) > 0.5


def test_of_an_update_with_noise_rounding_is_not_told():
    torch.manual_seed(0)
    image, label = smooth(1), torch.tensor([1])
    stages = [CNBlockConfig(16, 32, 1), CNBlockConfig(32, None, 1)]
    clean = Reading(trained_once(ConvNeXt(stages, num_classes=2), image, label))
    noised = Reading(trained_once(ConvNeXt(stages, num_classes=2), image, label, noise=1e-5))
    assert 1e-10 < clean.rounding("features.2.1.weight") < 1e-9
    assert noised.rounding("features.2.1.weight") == 0.0
