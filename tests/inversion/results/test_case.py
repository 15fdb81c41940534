"""Tests of medleak.inversion.results.case."""

import dataclasses
import doctest
import re

import pytest

from medleak.inversion.attacks import registry
from medleak.inversion.results import case
from medleak.inversion.results.case import AVERAGE, NO_DEFENCE, AttackSpec, Case

CASE = Case(round=3, site="site-1", attack="dlg", defence=NO_DEFENCE, knowledge="all", seed=0)


def test_a_case_that_differs_in_one_field_has_another_name_and_another_stream():
    others = [
        dataclasses.replace(CASE, **{name: value})
        for name, value in {
            "round": 4,
            "site": "site-2",
            "attack": "idlg",
            "defence": "sign",
            "knowledge": "x",
            "seed": 1,
        }.items()
    ]
    assert len({c.name for c in [CASE, *others]}) == len(others) + 1
    assert len({c.stream for c in [CASE, *others]}) == len(others) + 1


def test_a_name_is_a_file_name_whatever_the_attack_is_called():
    odd = dataclasses.replace(CASE, attack="../../x y:é=1", site="site-1")
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", odd.name)


def test_only_an_averaging_attack_averages():
    assert not CASE.averages
    assert dataclasses.replace(CASE, attack=AVERAGE + "row_space").averages


@pytest.mark.parametrize("module", [case, registry])
def test_the_examples_are_true(module):
    found = doctest.testmod(module)
    assert found.attempted
    assert not found.failed


@pytest.mark.parametrize(
    "text", ["row_space", "average/row_space", "average/epochwise_bn:bn_weight=0.0,seconds=3"]
)
def test_an_attack_is_what_its_text_says(text):
    asked = AttackSpec.parse(text)
    assert str(asked) == text
    assert asked.averages == text.startswith(AVERAGE)
    assert str(asked.with_(seconds=9).without("seconds")) == str(asked.without("seconds"))
    assert asked.averaging().averages


@pytest.mark.parametrize("text", ["", AVERAGE, "a=1", "x:y"])
def test_what_names_no_attack_is_refused(text):
    with pytest.raises(ValueError, match="key=value"):
        AttackSpec.parse(text)


@pytest.mark.parametrize(
    ("attack", "score"),
    [
        ("membership/row_space", "row_space"),
        ("average/membership/loss_drop", "loss_drop"),
        ("row_space", None),
        ("average/row_space", None),
    ],
)
def test_a_case_that_asks_who_was_in_names_its_score(attack, score):
    assert Case(0, "site-1", attack, "none", "all", 0).score == score
