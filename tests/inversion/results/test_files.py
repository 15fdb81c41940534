"""Tests of medleak.inversion.results.files."""

import pytest

from medleak.inversion.results.files import contradictions_in, read_config, read_refused, write_json


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


def test_what_contradicts_the_updates_is_read_from_the_config_and_damage_is_passed_over(tmp_path):
    assert contradictions_in(read_config(tmp_path)) == {}
    said = {"0/a": {"contradictions": ["x"]}, "0/b": {"contradictions": []}, "0/c": 3, "0/d": {}}
    write_json(tmp_path / "config.json", {"said": said})
    assert contradictions_in(read_config(tmp_path)) == {"0/a": ["x"], "0/b": []}
    assert contradictions_in({"said": [1]}) == {}
