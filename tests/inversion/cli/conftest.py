"""Where the tests of commands stand, and an attack that costs nothing."""

import pytest
import torch
from tests.inversion.cli.commands import Flat, flat

from medleak.inversion.attacks.registry import ATTACKS, AttackKind


@pytest.fixture
def flat_attack(monkeypatch):
    monkeypatch.setitem(ATTACKS, "flat", lambda: AttackKind(Flat, flat))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Stand in an empty directory, with the threads that the test session has."""
    threads = torch.get_num_threads()
    monkeypatch.chdir(tmp_path)
    yield
    torch.set_num_threads(threads)
