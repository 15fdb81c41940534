"""Tests of medleak doctor: what it prints, and when it fails."""

import json

import pytest
from tests.inversion.cli.commands import medleak

from medleak.filters import doctor
from medleak.filters.doctor import Check


@pytest.fixture
def found(monkeypatch):
    """Make the doctor find these (name, status, detail)."""

    def find(*checks):
        made = [Check(name=n, status=s, detail=d) for n, s, d in checks]
        monkeypatch.setattr(doctor, "examine", lambda kit, job: made)

    return find


@pytest.mark.parametrize(("status", "code"), [("ok", 0), ("warning", 0), ("failed", 1)])
def test_a_failed_check_fails_the_command_and_a_warning_does_not(found, tmp_path, status, code):
    found(("policy", "ok", "one scope"), ("ledger", status, "as it is"))
    result = medleak("doctor", tmp_path)
    assert result.exit_code == code
    assert ("1 checks failed: do not join a federation" in result.output) == bool(code)
    assert "as it is" in result.output


def test_json_has_every_check_and_nothing_else_is_printed(found, tmp_path):
    found(("policy", "failed", "none"))
    result = medleak("doctor", tmp_path, "--json")
    assert json.loads(result.stdout) == [{"name": "policy", "status": "failed", "detail": "none"}]
    assert result.exit_code == 1


def test_a_kit_cannot_write_to_the_terminal(found, tmp_path):
    found(("policy", "ok", "\x1b[31mred"))
    assert "\x1b[31m" not in medleak("doctor", tmp_path).output


def test_a_folder_that_is_no_kit_fails(tmp_path):
    assert medleak("doctor", tmp_path).exit_code == 1
