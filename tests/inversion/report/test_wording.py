"""Tests of the words of the report."""

import pytest

from medleak.inversion.attacks.registry import ATTACKS
from medleak.inversion.report.reading import number
from medleak.inversion.report.wording import source


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


def test_every_attack_of_medleak_has_a_source():
    assert all("not one" not in source(name) for name in ATTACKS)
