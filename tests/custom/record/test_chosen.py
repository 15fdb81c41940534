"""Tests of medleak.custom.record.chosen."""

import numpy as np
import pytest

from medleak.custom.record import (
    EmptyRecord,
    Manifest,
    UpdateInfo,
    chosen_updates,
    utc_now,
    write_manifest,
    write_record,
)


@pytest.fixture
def records(tmp_path):
    """Two sites in two rounds, without site-2 in the second."""
    write_manifest(tmp_path, Manifest(job="chosen", created=utc_now()))
    weight = {"weight": np.ones(2, np.float32)}
    for round, site in ((0, "site-1"), (0, "site-2"), (1, "site-1")):
        write_record(tmp_path, UpdateInfo(round=round, site=site, time=utc_now()), weight, weight)
    return tmp_path


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, [(0, "site-1"), (0, "site-2"), (1, "site-1")]),
        ({"rounds": [1]}, [(1, "site-1")]),
        ({"sites": ["site-2"]}, [(0, "site-2")]),
        ({"rounds": [0], "sites": ["site-1"]}, [(0, "site-1")]),
    ],
)
def test_updates_are_chosen_by_round_and_site(records, asked, expected):
    assert chosen_updates(records, **asked) == expected


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        # One that is there beside one that is not: the other would be left out unsaid.
        ({"rounds": [0, 7]}, "Round 7 is not in .*: recorded are rounds 0, 1"),
        ({"sites": ["site-1", "nobody"]}, "Site nobody is not in .*: recorded are sites site-1"),
        ({"rounds": [1], "sites": ["site-2"]}, "rounds 1, sites site-2"),
    ],
)
def test_what_is_not_recorded_is_refused(records, asked, why):
    with pytest.raises(ValueError, match=why):
        chosen_updates(records, **asked)


def test_a_record_without_updates_is_told_from_a_bad_request(records):
    for path in records.glob("round_*/site-*"):
        path.unlink()
    with pytest.raises(EmptyRecord, match="nothing was examined"):
        chosen_updates(records)
