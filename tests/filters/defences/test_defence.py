"""Tests of what a defence is, for those that take any of them."""

import dataclasses
import inspect
from typing import Any

import pytest

from medleak.filters.defences.defence import Defence
from medleak.filters.registry import ROWS


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_defence_of_the_table_has_the_form_of_one(row):
    kind: Any = row.make
    assert dataclasses.is_dataclass(row.make)
    assert kind.__dataclass_params__.frozen
    wanted = inspect.signature(Defence.__call__).parameters
    found = inspect.signature(kind.__call__).parameters
    assert list(found) == list(wanted)
    assert [p.kind for p in found.values()] == [p.kind for p in wanted.values()]
    assert kind.name == row.name
