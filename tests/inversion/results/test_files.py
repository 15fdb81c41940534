"""Tests of medleak.inversion.results.files."""

import pytest

from medleak.inversion.results.files import read_refused, write_json


def test_nothing_was_refused_where_there_is_no_summary(tmp_path):
    assert read_refused(tmp_path) == []


def test_what_was_refused_is_read_back(tmp_path):
    refused = [{"case": {"round": 1, "site": "site-7"}, "why": "the hashes differ"}]
    write_json(tmp_path / "summary.json", {"refused": refused})
    assert read_refused(tmp_path) == refused


def test_a_number_that_json_does_not_know_is_never_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert not (tmp_path / "a.json").exists()
