import pytest

from medleak.inversion.report.values import count, listing, mapping, number, text


@pytest.mark.parametrize("value", [True, "1", None, float("nan"), float("inf"), [1]])
def test_what_is_no_number_is_none(value):
    assert number(value) is None
    assert count(value) == 0


def test_numbers_and_counts_are_kept():
    assert number(3) == 3.0
    assert (count(3.0), count(-1), count(1e13)) == (3, 0, 0)


def test_what_is_no_mapping_or_list_is_an_empty_one():
    assert (mapping([1]), mapping({"a": 1})) == ({}, {"a": 1})
    assert (listing("ab"), listing(["ab"])) == ([], ["ab"])


def test_what_is_no_text_is_shown_as_json():
    assert [text(v) for v in ("a", None, {"b": 1})] == ["a", "", '{"b": 1}']
