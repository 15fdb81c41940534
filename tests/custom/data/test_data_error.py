"""Tests of the error of unusable data, and of its message for a log."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medleak.custom.data.data_error import DataError


def test_a_message_for_a_log_keeps_its_own_words():
    error = DataError("Site's image '/a/1.png' isn't the table's: use \"/b/2.png\". Don't.")
    assert error.for_log() == "Site's image '…' isn't the table's: use '…'. Don't."


@pytest.mark.parametrize("value", ["Doe", b"Doe", "Doe's", 'Doe "J"', "Doe\\' J"])
def test_whatever_repr_quotes_is_left_out(value):
    assert DataError(f"File {value!r} is empty. Restore it.").for_log() == (
        "File '…' is empty. Restore it."
    )


@given(st.text(max_size=20))
def test_no_quoted_text_reaches_a_log(name):
    assert DataError(f"File {'4711' + name!r} is empty.").for_log() == "File '…' is empty."
