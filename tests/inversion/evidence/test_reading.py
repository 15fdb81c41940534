"""Tests of what sources read from."""

import pytest
import torch
from tests.inversion.evidence.rounds import client, smooth

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
