"""Features from row spaces, as evidence."""

import torch
from tests.inversion.evidence.rounds import client, smooth

from medleak.inversion.evidence.reading import Reading
from medleak.inversion.evidence.sources.recovered_features import SOURCE, recovered


def test_the_first_layer_that_gives_features_gives_those_of_the_truth():
    truth = smooth(1)
    reading = Reading(client(truth, torch.tensor([1])))
    found, grouped = recovered(reading, reading.row_spaces)
    assert grouped
    ((name, features),) = found.items()
    there = reading.probe.run(truth, inputs=[name]).inputs[name]
    assert float((features * there).sum() / there.norm()) > 0.999
    (told,) = SOURCE.tell(reading)
    assert told.exact
    assert (told.layer, told.images) == (name, 1)


def test_without_row_spaces_there_are_none():
    reading = Reading(client(smooth(1), torch.tensor([1])))
    assert recovered(reading, {}) == ({}, True)
