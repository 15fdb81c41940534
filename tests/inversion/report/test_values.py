import pytest

from medleak.inversion.report.values import count, listing, mapping, number, roc, share, text


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


def test_a_share_has_an_interval_that_holds_it_or_is_none():
    fine = {"value": 0.5, "lower95": 0.4, "upper95": 0.6}
    assert share(fine).mean == 0.5
    for wrong in (None, {}, fine | {"lower95": None}, fine | {"value": 0.7}, fine | {"upper95": 2}):
        assert not share(wrong).defined


def test_points_of_a_curve_rise_and_those_that_are_none_are_left_out():
    fine = {"value": 0.5, "lower95": 0.4, "upper95": 0.6}
    points = [fine | {"fpr": x} for x in (0.1, 0.01, 0, 2, "x", None)]
    assert list(roc({"curve": [*points, 3]})) == [0.01, 0.1]
    assert roc({"curve": "none"}) == {}
