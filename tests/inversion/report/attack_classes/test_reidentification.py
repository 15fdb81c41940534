import pytest
from tests.inversion.report.attack_classes.audits import HEALTHY, by, interval, summing
from tests.inversion.report.directories import a_figure, a_group

from medleak.inversion.report.attack_classes.answer import Recipient
from medleak.inversion.report.attack_classes.reidentification import answers
from medleak.inversion.report.verdicts import Light


def identified(site, share, p, **more):
    iip = {**(a_figure(share) or {}), "k": 1, "gallery": 120, "p": p}
    return a_group(site, iip=iip, embedding="resnet18", **more)


def test_no_network_to_compare_by_is_not_tested_and_says_why(audited):
    (answer,) = answers(audited((), [a_group("a", embedding="none: no weights here")]))
    assert not answer.tested
    assert "no weights here" in answer.words


@pytest.mark.parametrize(
    ("share", "p", "health", "light"),
    [
        (0.5, 0.001, {}, Light.LEAKS),
        (0.5, 0.1, HEALTHY, Light.MAY_LEAK),
        (0.0, 0.9, HEALTHY, Light.NONE_FOUND),
        (0.0, 0.9, {}, Light.NOT_KNOWN),
        (0.5, None, HEALTHY, Light.NOT_KNOWN),
        (0.0, 0.001, HEALTHY, Light.MAY_LEAK),
    ],
)
def test_the_light_is_set_against_chance_by_an_attack_that_works(audited, share, p, health, light):
    (answer,) = answers(audited((), [identified("a", share, p)], health=health))
    assert answer.light is light


def test_a_stuck_attack_identifies_nobody_and_that_is_not_known(audited):
    (answer,) = answers(audited((), [identified("a", 0.0, 0.9, stuck=1)], health=HEALTHY))
    assert answer.light is Light.NOT_KNOWN


def test_the_worst_site_leads_and_the_mean_is_of_all(audited):
    groups = [identified("a", 0.1, 0.9), identified("b", 0.7, 0.001)]
    (answer,) = answers(audited((), groups, health=HEALTHY))
    assert (answer.where, answer.worst.mean) == ("b", pytest.approx(0.7))
    assert answer.mean.mean == pytest.approx(0.4)
    lower, most, upper = interval(answer.worst)
    assert most == pytest.approx(0.7)
    assert lower < most < upper


def test_a_site_without_figures_keeps_it_open(audited):
    groups = [identified("a", 0.0, 0.9), a_group("b")]
    (answer,) = answers(audited((), groups, health=HEALTHY))
    assert answer.light is Light.NOT_KNOWN


CASE = {"site": "a", "round": 1, "attack": "row_space", "defence": "none"}


@pytest.mark.parametrize(
    "more",
    [
        {"refused": [{"case": CASE, "why": "damaged"}]},
        {"left": [CASE]},
        {"settled": [{"case": CASE, "why": "settled"}]},
    ],
)
def test_rounds_that_were_not_examined_keep_it_open(audited, more):
    (answer,) = answers(audited((), [identified("a", 0.0, 0.9)], health=HEALTHY, **more))
    assert answer.light is Light.NOT_KNOWN


def test_refused_cases_of_another_question_do_not(audited):
    refused = [{"case": CASE | {"attack": "membership/row_space"}, "why": "no list"}]
    groups = [identified("a", 0.0, 0.9)]
    (answer,) = answers(audited((), groups, health=HEALTHY, refused=refused))
    assert answer.light is Light.NONE_FOUND


def test_a_replayed_sum_is_about_a_server_that_sees_no_more(audited):
    groups = [identified("a", 0.7, 0.001, defence=summing(2))]
    found = answers(audited((), groups, health=HEALTHY))
    assert [a.light for a in by(found, Recipient.SUM)] == [Light.LEAKS]
    assert not by(found, Recipient.SERVER)
