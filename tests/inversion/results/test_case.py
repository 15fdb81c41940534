"""Tests of medleak.inversion.results.case."""

import dataclasses
import re

from medleak.inversion.results.case import AVERAGE, NO_DEFENCE, Case

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
