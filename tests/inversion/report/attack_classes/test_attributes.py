import pytest
from tests.inversion.report.directories import a_group, grid

from medleak.inversion.linkage.findings import WHOSE
from medleak.inversion.report.attack_classes.answer import Recipient
from medleak.inversion.report.attack_classes.attributes import FILE, of_patients, of_sites
from medleak.inversion.report.verdicts import Light

UPDATES = ["0/a", "0/b"]


def told(what=WHOSE, kind="told", value=0.9, p=0.001, **more):
    words = f"{what}: {kind}"
    return {
        "what": what,
        "kind": kind,
        "verdict": words,
        "value": value,
        "p": p,
        "chance": 0.2,
        "measure": "share given to their site",
        "lower95": 0.7,
        "upper95": 1.0,
        **more,
    }


@pytest.fixture
def about(audited):
    def make(*found, not_tested=(), updates=UPDATES):
        content = {"told": list(found), "not_tested": list(not_tested), "updates": updates}
        return audited(grid(["a", "b"], rounds=1), beside={FILE: content})

    return make


def test_whose_it_is_and_what_patients_are_like_are_two_classes(about):
    audit = about(told(), told("women of a site", "not told", 0.1, 0.6))
    (site,), (patients,) = of_sites(audit), of_patients(audit)
    assert site.light is Light.LEAKS
    assert (site.worst.mean, site.worst.lower95, site.chance) == (0.9, 0.7, 0.2)
    assert patients.light is Light.NONE_FOUND
    assert patients.where == "women of a site"


def test_of_many_attributes_the_worst_leads_whatever_its_figure(about):
    women = told("women of a site", "told", 0.5)
    (answer,) = of_patients(about(told("age of a site", "not known", 0.8, 0.1), women))
    assert answer.light is Light.LEAKS
    assert answer.worst.mean == 0.5
    assert answer.mean.mean == pytest.approx(0.65)


@pytest.mark.parametrize(
    "doubt", [{"p": None}, {"p": 0.001}, {"kind": "fine"}, {"kind": "not known"}]
)
def test_no_answer_is_better_than_its_figures(about, doubt):
    (answer,) = of_sites(about(told(kind="not told") | {"p": 0.5} | doubt))
    assert answer.light is Light.NOT_KNOWN


def test_updates_that_were_not_compared_keep_it_open(about):
    (answer,) = of_sites(about(told(kind="not told", p=0.5), updates=UPDATES[:1]))
    assert answer.light is Light.NOT_KNOWN
    assert "1 updates were not compared" in answer.words


def test_why_it_was_not_tested_is_handed_on(about):
    whys = [{"what": WHOSE, "why": "1 round(s) of 2 site(s)"}]
    (answer,) = of_sites(about(not_tested=whys))
    assert not answer.tested
    assert answer.recipient is Recipient.SERVER
    assert answer.words == "1 round(s) of 2 site(s)"
    assert of_patients(about(not_tested=whys)) == []


def test_an_attribute_that_was_not_tested_keeps_the_others_from_clearing(about):
    hidden = told("women of a site", "not told", 0.1, 0.6)
    whys = [{"what": "age of a site", "why": "2 site(s) have age"}]
    (answer,) = of_patients(about(hidden, not_tested=whys))
    assert answer.light is Light.NOT_KNOWN
    assert "2 site(s) have age" in answer.words
    leaking = hidden | {"kind": "told", "p": 0.001}
    (answer,) = of_patients(about(leaking, not_tested=whys))
    assert answer.light is Light.LEAKS


def test_an_audit_without_the_file_answers_nothing(audited):
    assert of_sites(audited((), [a_group("a")])) == []


@pytest.mark.parametrize("content", [[], "told", {"told": {}}, {"told": [1, {"what": 3}]}])
def test_whatever_else_is_in_the_file_is_no_answer(audited, content):
    assert of_sites(audited((), [a_group("a")], beside={FILE: content})) == []


def test_an_interval_that_is_none_is_left_out(about):
    (answer,) = of_sites(about(told(lower95=2, upper95=1)))
    assert answer.worst.lower95 is None
