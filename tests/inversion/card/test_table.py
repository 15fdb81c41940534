"""Tests of medleak.inversion.card.table: what was not run, or is not known, is no all-clear."""

import pytest
from tests.inversion.card.test_page import findings, recipient

from medleak.inversion.card.examine import Membership
from medleak.inversion.card.table import HEAD, table_of_cards, who_was_in
from medleak.inversion.report.verdicts import Light


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_card_has_its_figures_and_one_that_was_not_made_says_so():
    bare = recipient(Light.LEAKS, whole=2, ssim=0.951, ssim_max=0.96, prior=0.5)
    held = recipient(Light.NONE_FOUND, "secure_aggregation:sites=3")
    told = Membership(kinds=["leaks", "inconclusive"])
    made = findings(bare, held, recipient(Light.LEAKS, "withhold"), membership=told).as_json()
    head, _, first, second = table_of_cards({"a": made, "b": None}).splitlines()
    assert cells(head) == list(HEAD)
    assert cells(first) == [
        "a trial",
        "leaks",
        "2 of 2",
        "0.95 (0.96; 0.50)",
        "told at 1 of 2 sites",
        "1 of 2: the sum over 3 sites alone",
    ]
    assert cells(second)[:2] == ["b", "not run"]


def test_a_defence_behind_which_members_are_told_did_not_hold():
    told = recipient(Light.NONE_FOUND, "withhold", members="told at 1 of 2 sites")
    made = findings(recipient(Light.LEAKS, ssim=0.9), told).as_json()
    assert cells(table_of_cards({"a": made}).splitlines()[2])[-1] == "0 of 1"


def test_of_images_that_were_compared_with_none_it_is_not_said_that_none_came_back():
    made = findings(recipient(Light.NOT_KNOWN, ssim=None)).as_json()
    assert cells(table_of_cards({"a": made}).splitlines()[2])[2:4] == ["not measured"] * 2


def test_what_is_not_known_stands_with_its_reason():
    made = findings(recipient(Light.NOT_KNOWN)).as_json()
    text = table_of_cards({"a": made})
    assert "| not known |" in text
    assert "- a trial: not known, because a reason" in text
    assert "because" not in table_of_cards({"a": findings(recipient(Light.LEAKS)).as_json()})


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        ([], "not tested"),
        (["inconclusive", "no_leak_found"], "not known"),
        (["not_examined"], "not known"),
        (["no_leak_found"] * 2, "not told"),
    ],
)
def test_who_was_in_is_not_told_only_where_every_site_says_so(kinds, words):
    assert who_was_in({"kinds": kinds}) == words


def test_a_damaged_card_is_one_that_was_not_made():
    assert "| x | not run |" in table_of_cards({"x": {"recipients": []}})
