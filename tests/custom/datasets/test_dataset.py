"""Tests of what is known about a set, and of reading it."""

from dataclasses import replace

import pytest

from medleak.custom.data.datalist import DataError, Item
from medleak.custom.data.layouts import FormError
from medleak.custom.datasets.catalogue import find
from medleak.custom.datasets.dataset import count, read


def test_without_a_root_the_set_says_where_to_get_it():
    with pytest.raises(DataError, match=r"No --root .* Get it from https.* \(licence: "):
        read(find("airogs"), None)


def test_items_are_counted_by_class_with_zero_where_there_is_none():
    items = [Item("a", 1, "p"), Item("b", 1, "q")]
    assert count(items, ("normal", "sick")) == {"normal": 0, "sick": 2}


def test_a_root_of_another_form_says_what_is_missing_and_where_to_get_the_set(tmp_path):
    def refuse(root):
        raise FormError("has no folder 'x'")

    known = replace(find("melanoma"), read=refuse)
    with pytest.raises(DataError, match=r"has no folder 'x': it is no melanoma\. .*Get it from"):
        read(known, tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="is not a folder"):
        read(known, tmp_path / "file")
