"""Tests of medleak.custom.data.environment."""

import pytest

from medleak.custom.data.environment import path_variable

NAME = "MEDLEAK_TEST_PATH"


@pytest.mark.parametrize("value", [None, ""])
def test_an_unset_variable_is_none(monkeypatch, value):
    monkeypatch.delenv(NAME, raising=False)
    if value is not None:
        monkeypatch.setenv(NAME, value)
    assert path_variable(NAME) is None


def test_an_absolute_path_is_taken_as_it_is(monkeypatch, tmp_path):
    monkeypatch.setenv(NAME, str(tmp_path / "missing"))
    assert path_variable(NAME) == tmp_path / "missing"


def test_a_relative_path_is_found_from_where_the_user_stood(monkeypatch, tmp_path):
    (tmp_path / "data").mkdir()
    site = tmp_path / "simulator_workspace" / "site-1"
    site.mkdir(parents=True)
    monkeypatch.chdir(site)
    monkeypatch.setenv(NAME, "data")
    monkeypatch.setenv("PWD", str(tmp_path))
    assert path_variable(NAME) == tmp_path / "data"
    monkeypatch.setenv("PWD", "/")  # started by a program that sets no PWD
    assert path_variable(NAME) == tmp_path / "data"


def test_a_path_that_is_nowhere_is_named_from_the_users_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("PWD", str(tmp_path))
    monkeypatch.setenv(NAME, "nowhere/at/all")
    assert path_variable(NAME) == tmp_path / "nowhere/at/all"
