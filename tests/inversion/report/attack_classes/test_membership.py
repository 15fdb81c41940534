import dataclasses

import pytest
from tests.inversion.report.answers import an_answer
from tests.inversion.report.attack_classes.audits import NINE, by, interval, summing
from tests.inversion.report.directories import a_group

from medleak.inversion.report.attack_classes.answer import Recipient
from medleak.inversion.report.attack_classes.membership import answers, light_of
from medleak.inversion.report.verdicts import Light

HIDES = an_answer("site-1", gap=0.0, members=150, others=150)


def test_nobody_asked_is_no_answer(audited):
    assert answers(audited((), [a_group("site-1")])) == []


def test_the_worst_stands_with_its_interval_beside_the_mean(audited):
    asked = [an_answer("site-1"), HIDES | {"site": "site-2"}]
    (answer,) = answers(audited((), [], membership=asked))
    assert answer.light is Light.LEAKS
    assert answer.where == "site-1"
    lower, most, _ = interval(answer.worst)
    assert lower > 0.9
    assert 0.5 < (answer.mean.mean or 0) < most
    assert answer.mean.lower95 is None
    assert answer.words.startswith("site-1: leaks: members are told")


def test_a_site_that_nobody_asked_about_keeps_the_answer_open(audited):
    (alone,) = answers(audited((), [], membership=[HIDES]))
    assert alone.light is Light.NONE_FOUND
    (open_,) = answers(audited((), [a_group("site-2")], membership=[HIDES]))
    assert open_.light is Light.NOT_KNOWN
    assert open_.words.startswith("site-1: 1 sites were not asked about")


@pytest.mark.parametrize("where", ["refused", "left"])
def test_a_round_that_was_not_asked_about_keeps_the_answer_open(audited, where):
    case = {"site": "site-1", "round": 1, "attack": "membership/row_space", "defence": "none"}
    found = {"refused": [{"case": case, "why": "damaged"}], "left": [case]}
    (answer,) = answers(audited((), [], membership=[HIDES], **{where: found[where]}))
    assert answer.light is Light.NOT_KNOWN


def test_a_sum_is_about_who_sees_it(audited):
    sums = [an_answer("site-1", defence=summing(9))]
    found = answers(audited((), [], membership=sums, config=NINE))
    assert not by(found, Recipient.SERVER)
    assert [a.light for a in by(found, Recipient.SUM)] == [Light.LEAKS]
    assert [a.light for a in by(found, Recipient.SITES)] == [Light.LEAKS]


@pytest.mark.parametrize(
    ("change", "light"),
    [
        ({}, Light.NONE_FOUND),
        ({"flaws": ["the easy case was not told"]}, Light.NOT_KNOWN),
        ({"flaws": None}, Light.NOT_KNOWN),
        ({"kind": None}, Light.NOT_KNOWN),
        ({"kind": "inconclusive"}, Light.MAY_LEAK),
    ],
)
def test_what_is_flawed_or_missing_is_not_known(audited, change, light):
    (answer,) = audited((), [], membership=[HIDES]).membership
    assert light_of(dataclasses.replace(answer, **change)) is light
