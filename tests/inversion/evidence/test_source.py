"""Every source keeps to the protocol; one row each."""

import pytest
import torch
from tests.inversion.evidence.rounds import client, smooth

from medleak.inversion.evidence.reading import Reading
from medleak.inversion.evidence.sources.registry import SOURCES


@pytest.fixture(scope="module")
def reading():
    return Reading(client(smooth(1), torch.tensor([1])))


def test_sources_have_names_of_their_own_and_say_what_they_need():
    assert len({s.name for s in SOURCES}) == len(SOURCES)
    assert all(s.words and s.needs and all(s.needs) for s in SOURCES)


@pytest.mark.parametrize("source", SOURCES, ids=lambda s: s.name)
def test_what_is_told_is_of_layers_that_are_there_and_in_words(source, reading):
    modules = dict(reading.observation.network().named_modules())
    for told in source.tell(reading):
        assert told.source == source.name
        assert told.layer in modules
        assert told.words
        assert told.noise is None or 0 <= told.noise <= 1


@pytest.mark.parametrize("source", SOURCES, ids=lambda s: s.name)
def test_an_answer_that_is_given_is_of_the_images_shape(source, reading):
    if source.answer is None:
        return
    answer = source.answer(reading)
    assert answer is None or answer.images.shape == (1, 1, 32, 32)
