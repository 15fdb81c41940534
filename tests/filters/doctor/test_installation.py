"""Tests of what is said of the way in which medleak is installed."""

import importlib.metadata
import json
import os

import pytest
from tests.filters.doctor.kits import said

from medleak.filters import doctor


def test_a_package_that_could_replace_ours_fails(kit):
    (kit / "local/custom/medleak").mkdir(parents=True)
    assert any("may replace the installed" in f for f in said(doctor.examine(kit), "failed"))


@pytest.mark.parametrize(
    ("origin", "status", "message"),
    [
        ({"dir_info": {"editable": True}}, "failed", "editable"),
        ({"dir_info": {}}, "ok", "installed from its wheel"),
        (None, "ok", "installed from its wheel"),
    ],
)
def test_only_a_regular_install_is_safe_from_shadowing(origin, status, message, kit, monkeypatch):
    class Installed:
        version = "1.0"

        @staticmethod
        def read_text(name):
            assert name == "direct_url.json"
            return json.dumps(origin) if origin is not None else None

    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Installed)
    assert any(message in c for c in said(doctor.installation(kit), status))


def test_a_broken_cipher_fails(monkeypatch):
    assert [c.status for c in doctor.entropy()] == ["ok"]
    monkeypatch.setattr(os, "urandom", lambda size: bytes(size))
    assert [c.status for c in doctor.entropy()] == ["failed"]
