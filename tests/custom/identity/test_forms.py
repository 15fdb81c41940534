"""Tests of medleak.custom.identity.forms."""

from datetime import date

import pytest

from medleak.custom.identity.forms import common_words, dates, digits, forms, plain


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Müller", "MUELLER"),
        ("Müller", "Muller"),
        ("Mueller", "Muller"),
        ("Großmann", "GROSSMANN"),
        ("Ångström", "Aangstroem"),
        ("Łukasz", "lukasz"),
        ("É", "e\u0301"),
        ("ﬁsher", "fisher"),
        ("Ivan-Petrov", "ivan petrov"),
    ],
)
def test_texts_that_are_the_same_to_a_reader_have_a_form_in_common(one, other):
    assert forms(one) & forms(other)


def test_other_texts_have_none():
    assert not forms("Müller") & forms("Miller")
    assert not forms("Иванов") & forms("Петров")
    assert plain(" St. Mary's #5 ") == "stmarys5"
    assert digits("a1b22") == 3


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("scan 2023-08-15", {date(2023, 8, 15)}),
        ("20230815", {date(2023, 8, 15)}),
        ("15. August 2023", {date(2023, 8, 15)}),
        ("99999999", set()),
        ("normal", set()),
        ("1.2.826.0.1", set()),
    ],
)
def test_days_are_read_as_people_write_them(text, found):
    assert found <= dates(text)
    if not found:
        assert not dates(text)


def test_the_names_of_our_own_classes_are_common():
    from medleak.custom.phantoms import MODALITIES

    names = {name for modality in MODALITIES.values() for name in modality.classes}
    assert {plain(name) for name in names} <= common_words()
