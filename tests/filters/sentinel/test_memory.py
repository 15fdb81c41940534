"""Tests of medleak.filters.sentinel.memory."""

import json

import pytest
from tests.filters.sentinel.models import linear

from medleak.filters.sentinel.examination import examine, noted
from medleak.filters.sentinel.memory import Memory, entry


def test_what_was_written_is_read_again():
    state = linear()
    found = examine(state, Memory())
    memory = noted(
        Memory().with_model(found.profile, 3), state, {n: v * 0.01 for n, v in state.items()}
    )
    again = Memory.from_json(memory.to_json())
    assert again == memory
    assert (again.last_round, again.last_sha256) == (3, found.profile.sha256)
    assert again.structure == found.profile.structure


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"levels": 3}', "{]", '{"a": 1}'])
def test_a_memory_that_cannot_be_read_is_refused(text):
    with pytest.raises(ValueError, match="memory cannot be read"):
        Memory.from_json(text)


def test_bands_widen_and_nothing_is_forgotten():
    profile = examine(linear(), Memory()).profile
    other = examine(linear(seed=1), Memory()).profile
    memory = Memory().with_model(profile, 0).with_model(other, 1)
    for name, (low, high) in memory.ranks.items():
        assert low == min(profile.ranks[name], other.ranks[name])
        assert high == max(profile.ranks[name], other.ranks[name])
    assert memory.structure == profile.structure
    assert memory.with_stop("why").stopped == "why"


def test_the_record_of_a_model_holds_statistics_alone():
    found = examine(linear(), Memory())
    line = entry(2, found.profile.sha256, list(found.results), "let through")
    text = json.dumps(line, allow_nan=False)
    assert line["checks"]["rows"]["status"] == "fine"
    assert len(text) < 2000
