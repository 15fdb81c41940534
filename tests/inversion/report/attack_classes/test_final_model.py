import pytest
from tests.inversion.report.attack_classes.audits import by
from tests.inversion.report.directories import a_group

from medleak.inversion.report.attack_classes import membership
from medleak.inversion.report.attack_classes.answer import Recipient
from medleak.inversion.report.attack_classes.final_model import FILE, inversions, members
from medleak.inversion.report.verdicts import Light

INVERSION = {"kind": "no leak found", "verdict": "no leak found: x", "best": 0.5, "lead": 0.02}
INVERSION |= {"nobody": 0.5, "easy": 0.4}
AUC = {"value": 0.5, "lower95": 0.44, "upper95": 0.56}
MEMBERSHIP = {"verdict_kind": "no_leak_found", "verdict": "no leak found: y", "flaws": []}
MEMBERSHIP |= {"separation": {"auc": AUC}}


def of(audited, **content):
    return audited((), [a_group("a")], beside={FILE: {"format_version": 1, **content}})


def test_updates_say_nothing_of_the_final_model(audited):
    audit = audited((), [a_group("a")])
    assert inversions(audit) == members(audit) == []


def test_the_holder_of_the_model_and_a_site_are_told_apart(audited):
    holder, site = inversions(of(audited, inversion=INVERSION))
    assert (holder.recipient, holder.light) == (Recipient.FINAL_MODEL, Light.NONE_FOUND)
    assert (holder.worst.mean, holder.chance) == (0.5, 0.5)
    assert (site.recipient, site.light) == (Recipient.SITES, None)
    assert "the last alone" in site.words


def test_what_leaks_from_the_last_model_leaks_to_sites(audited):
    audit = of(audited, inversion=INVERSION | {"kind": "leaks", "best": 0.95})
    assert [a.light for a in inversions(audit)] == [Light.LEAKS, Light.LEAKS]


@pytest.mark.parametrize(
    "change",
    [
        {"best": 0.95},
        {"lead": 0.2},
        {"easy": 0.0},
        {"easy": None},
        {"best": "x"},
        {"kind": "not known"},
        {"kind": 7},
    ],
)
def test_no_file_makes_an_all_clear_that_its_figures_do_not_allow(audited, change):
    holder, *_ = inversions(of(audited, inversion=INVERSION | change))
    assert holder.light is Light.NOT_KNOWN


@pytest.mark.parametrize(
    ("change", "light"),
    [
        ({}, Light.NONE_FOUND),
        ({"verdict_kind": "leaks"}, Light.LEAKS),
        ({"verdict_kind": "inconclusive"}, Light.MAY_LEAK),
        ({"flaws": ["x"]}, Light.NOT_KNOWN),
        ({"flaws": None}, Light.NOT_KNOWN),
        ({"separation": {"auc": AUC | {"upper95": 0.7}}}, Light.NOT_KNOWN),
        ({"separation": {"auc": AUC | {"lower95": 0.7}}}, Light.NOT_KNOWN),
        ({"separation": None}, Light.NOT_KNOWN),
        ({"verdict_kind": "not_measured"}, Light.NOT_KNOWN),
    ],
)
def test_membership_in_the_model_is_read_as_strictly(audited, change, light):
    audit = of(audited, membership=MEMBERSHIP | change)
    (holder,) = by(membership.answers(audit), Recipient.FINAL_MODEL)
    assert holder.light is light


def test_what_was_not_tested_says_why(audited):
    audit = of(audited, not_tested=[{"what": "membership", "why": "no references"}])
    (holder,) = by(members(audit), Recipient.FINAL_MODEL)
    assert (holder.light, holder.words) == (None, "no references")
    assert inversions(audit) == []
