"""Tests of texts that a stranger may have made as long as he liked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medleak.inversion.report.texts import listed, names, short


@given(st.text(max_size=300), st.integers(1, 100))
def test_a_shortened_text_is_short_and_begins_as_it_was(text, longest):
    found = short(text, longest)
    assert len(found) <= longest
    assert text.startswith(found.removesuffix("…") if found != text else found)


@pytest.mark.parametrize(
    ("words", "text"),
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")],
)
def test_words_are_listed_as_one_says_them(words, text):
    assert listed(words) == text


def test_different_sites_are_named_once_and_of_very_many_only_some():
    assert names(["a", "b", "a"]) == "a and b"
    assert names([f"s{k}" for k in range(9)]).endswith("s7 and s8")
    many = names([f"s{k}" for k in range(12)])
    assert many == "s0, s1, s2, s3, s4, s5, s6, s7 and 4 more sites"
    assert len(names(["x" * 999])) == 60
