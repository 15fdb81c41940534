"""Tests of what a defence is, for those that take any of them."""

import dataclasses
import inspect

import pytest

from medleak.filters.defences.defence import Defence
from medleak.filters.registry import ROWS


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_defence_of_the_table_has_the_form_of_one(row):
    kind = row.make
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    wanted = inspect.signature(Defence.__call__).parameters
    found = inspect.signature(kind.__call__).parameters
    assert list(found) == list(wanted)
    assert [p.kind for p in found.values()] == [p.kind for p in wanted.values()]
    assert kind.name == row.name
