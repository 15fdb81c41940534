"""Tests of medleak.inversion.results.files."""

import dataclasses

import pytest

from medleak.inversion.results.case import Case
from medleak.inversion.results.files import (
    contradictions_in,
    contradictions_of,
    read_config,
    read_refused,
    write_json,
)


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


def test_an_attack_was_told_what_was_said_of_all_rounds_that_it_joins_and_of_no_other():
    said = {"0/a": ["x"], "1/a": ["y", "x"], "2/a": ["z"], "0/b": ["of b"], "?/a": ["damaged"]}
    at_1 = Case(1, "a", "row_space", "none", "all", 0)
    joined = dataclasses.replace(at_1, attack="average/row_space")
    assert contradictions_of([at_1], said) == ["y", "x"]
    assert contradictions_of([joined], said) == ["x", "y"]
    assert contradictions_of([], said) == []
