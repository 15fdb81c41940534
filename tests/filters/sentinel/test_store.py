"""Tests of medleak.filters.sentinel.store."""

import stat

import numpy as np
import pytest
from tests.filters.sentinel.models import linear

from medleak.filters.sentinel.examination import examine
from medleak.filters.sentinel.memory import Memory
from medleak.filters.sentinel.store import Store


def test_memory_and_last_model_come_back_and_are_their_owners_only(tmp_path):
    store, state = Store(tmp_path / "s"), linear()
    assert store.memory() == Memory()
    assert store.last({"a"}) is None
    memory = Memory().with_model(examine(state, Memory()).profile, 0)
    store.keep(memory, state)
    store.note({"round": 0})
    assert store.memory() == memory
    last = store.last(set(state))
    assert last is not None
    assert np.array_equal(last("hidden.weight"), state["hidden.weight"])
    assert {stat.S_IMODE(p.stat().st_mode) for p in store.folder.iterdir()} == {0o600}
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700


def test_a_memory_that_is_gone_is_not_first_sight(tmp_path):
    store = Store(tmp_path)
    store.keep(Memory(), linear())
    (tmp_path / "memory.json").unlink()
    with pytest.raises(ValueError, match="models were seen before"):
        store.memory()


def test_a_linked_memory_and_another_networks_model_are_refused(tmp_path):
    (tmp_path / "memory.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="link"):
        Store(tmp_path).memory()
    (tmp_path / "memory.json").unlink()
    Store(tmp_path).keep(Memory(), linear())
    with pytest.raises(ValueError, match="has no other"):
        Store(tmp_path).last({"other"})
