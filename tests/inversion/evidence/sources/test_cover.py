"""What rows tell where patches are too many for a row space."""

import torch
from tests.inversion.evidence.rounds import client, smooth

from medleak.inversion.evidence.reading import Reading
from medleak.inversion.evidence.sources.cover import SOURCE, covers


def test_rows_are_told_where_patches_are_fewer_than_their_values_and_not_a_row_space():
    reading = Reading(client(smooth(2), torch.tensor([1, 0])))
    assert reading.sigma is not None
    found = covers(reading, reading.row_spaces, reading.sigma)
    assert [t.layer for t in SOURCE.tell(reading)] == list(found)
    assert not found.keys() & reading.row_spaces.keys()
    assert all(c.fullness < 1 for c in found.values())


def test_of_noise_none_is_used():
    reading = Reading(client(smooth(2), torch.tensor([1, 0])), max_noise=0.0)
    assert covers(reading, reading.row_spaces, 1.0) == {}
