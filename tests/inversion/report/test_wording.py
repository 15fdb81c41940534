"""Tests of the words of the report."""

import pytest

from medleak.inversion.attacks.registry import ROWS
from medleak.inversion.report.reading import number
from medleak.inversion.report.wording import protections, source


@pytest.mark.parametrize(
    ("value", "found"),
    [(1, 1.0), (0.5, 0.5), (True, None), ("1", None), (None, None), (float("nan"), None)],
)
def test_only_finite_numbers_are_numbers(value, found):
    assert number(value) == found


@pytest.mark.parametrize(
    ("attack", "words"),
    [
        ("dlg", "Zhu et al., NeurIPS 2019"),
        ("row_space:seconds=25", "docs/explanation/attacks.md"),
        ("average/row_space", "joins a site's updates of all rounds"),
        ("my_own", "not one of medleak's own"),
    ],
)
def test_an_attack_is_told_with_its_source(attack, words):
    assert words in source(attack)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_attack_of_medleak_has_its_words_and_its_source(row):
    assert source(row.name) == f"{row.words}. {row.source}"
    assert source(f"average/{row.name}:seconds=3").startswith(source(row.name))
    assert "not one of medleak's own" in source("prayer:hard=true")
    assert "not one of medleak's own" in source("=:,")


def test_protections_are_told_by_their_rows():
    told = protections(["none", "sign", "withhold+top_k:fraction=0.1", "a foreign + one", "{"])
    assert [name for name, _ in told] == ["top_k", "sign", "withhold"]
    assert all(len(words) > 20 for _, words in told)
