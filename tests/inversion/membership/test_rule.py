from dataclasses import replace

import pytest

from medleak.inversion.membership.roc import Figure, Separation
from medleak.inversion.membership.rule import Findings, judge


def told(value, low, high):
    figure = Figure(value=value, lower95=low, upper95=high)
    return Separation(
        auc=figure,
        tpr={"tpr_1": figure, "tpr_01": figure},
        curve={0.1: figure},
        members=40,
        others=60,
        patients=100,
        fewest=40,
        in_both=0,
    )


CHANCE = told(0.5, 0.43, 0.58)
FINE = Findings(
    separation=CHANCE,
    nulls=(CHANCE,),
    recognised=0,
    null_recognised=0,
    easy=1.0,
    least_p=0.005,
    views_known=True,
)


def verdict(**changes):
    return judge(
        replace(FINE, **changes), score="row_space", knowledge="all", images=100, patients=90
    )


def test_chance_with_every_check_passed_is_no_leak_found():
    found = verdict()
    assert found.kind == "no_leak_found"
    assert str(found).startswith("no leak found by membership by row_space knowing all (AUC 0.50")


def test_an_auc_above_chance_and_above_the_null_leaks():
    found = verdict(separation=told(0.98, 0.95, 1.0))
    assert found.kind == "leaks"
    assert "AUC 0.980" in str(found)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"separation": told(0.9, 0.8, 0.95), "nulls": ()}, "differ by themselves"),
        ({"separation": told(0.7, 0.6, 0.8), "nulls": (told(0.65, 0.55, 0.75),)}, "has 0.650"),
        ({"separation": told(0.5, 0.4, 0.61)}, "too few to tell"),
        ({"separation": told(0.1, 0.05, 0.2)}, "tells them as well"),
        ({"separation": told(0.0, 0.0, 0.3), "unscored": 9}, "the score of 9 images is no number"),
        ({"nulls": ()}, "to compare with"),
        ({"separation": replace(CHANCE, in_both=3)}, "3 patients have images that were in and"),
        ({"separation": replace(CHANCE, fewest=9)}, "of 9 patients, too few"),
        ({"copies": 2}, "2 images that were not in are almost one that was"),
        ({"constant": True}, "examined nothing"),
        ({"separation": told(0.56, 0.49, 0.6), "nulls": (told(0.44, 0.41, 0.51),)}, "apart from"),
        ({"separation": told(0.46, 0.42, 0.51), "nulls": (told(0.56, 0.5, 0.6),)}, "apart from"),
        ({"nulls": (told(0.3, 0.2, 0.4),)}, "not chance"),
        ({"views_known": False}, "augmentation"),
        ({"easy": None}, "no evidence"),
        ({"easy": 0.8}, "did not know an easy case"),
        ({"contradicted": "mean 0.5 cannot be"}, "contradicts what was said of it (mean 0.5"),
        ({"recognised": 5, "null_recognised": 4}, "of another kind"),
        ({"separation": None, "recognised": 5, "null_recognised": 4}, "of another kind"),
    ],
)
def test_a_check_that_fails_makes_it_inconclusive(changes, reason):
    found = verdict(**changes)
    assert found.kind == "inconclusive"
    assert reason in str(found)


@pytest.mark.parametrize(
    "changes",
    [
        {"copies": 3},
        {"separation": replace(told(0.98, 0.95, 1.0), in_both=5)},
        {"separation": replace(told(0.98, 0.95, 1.0), fewest=3)},
    ],
)
def test_a_list_that_hides_members_does_not_hide_a_leak(changes):
    assert verdict(**({"separation": told(0.98, 0.95, 1.0)} | changes)).kind == "leaks"


def test_patients_recognised_leak_without_any_truth():
    found = verdict(separation=None, nulls=(), recognised=7, null_recognised=0)
    assert found.kind == "leaks"
    assert "7 of 90 patients are recognised" in str(found)
    alone = verdict(separation=None, nulls=(), recognised=7, null_recognised=None)
    assert "if the non-members given are like them" in str(alone)


def test_nobody_recognised_and_no_truth_is_not_measured():
    found = verdict(separation=None, nulls=())
    assert found.kind == "not_measured"
    assert "none of the candidates was recognised" in str(found)


def test_that_none_could_be_recognised_is_not_said_as_that_none_was():
    found = verdict(separation=None, nulls=(), least_p=0.05)
    assert found.kind == "not_measured"
    assert "none could be recognised" in str(found)


@pytest.mark.parametrize(
    ("members", "why"),
    [(None, "give --truth"), (0, "none of the candidates were in"), (9, "all of the candidates")],
)
def test_what_cannot_be_told_apart_says_why(members, why):
    found = verdict(separation=None, members=members)
    assert found.kind == "not_measured"
    assert why in str(found)
