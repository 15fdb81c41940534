import pytest
from tests.inversion.report.directories import a_group, grid, report_of

from medleak.inversion.report.attack_classes.answer import Recipient
from medleak.inversion.report.attack_classes.malicious_server import FILE, answers, lines
from medleak.inversion.report.verdicts import Light

UPDATES = ["0/a", "0/b"]


def model(round=0, odd=(), unknown=(), line="10 checks are fine"):
    return {"round": round, "odd": list(odd), "not_examined": list(unknown), "line": line}


FINE = {"models": [model(0, unknown=["step"]), model(1)], "all_examined": True}
FIRST = {"models": [model(0, unknown=["step"])], "all_examined": False}
TRAP = {
    "models": [model(0), model(3, ["rows"], line="rows: 5.weight: share")],
    "all_examined": True,
}


@pytest.fixture
def about(audited):
    def make(sites, not_tested=(), updates=UPDATES):
        content = {"sites": sites, "not_tested": list(not_tested), "updates": updates}
        return audited(grid(["a", "b"], rounds=1), beside={FILE: content})

    return make


def test_models_that_are_not_odd_are_no_all_clear_for_what_is_not_seen(about):
    audit = about({"a": FINE, "b": FINE})
    assert [(one.site, one.light, one.models) for one in lines(audit)] == [
        ("a", Light.NOT_KNOWN, 2),
        ("b", Light.NOT_KNOWN, 2),
    ]
    found = answers(audit)
    assert [a.recipient for a in found] == [Recipient.SERVER, Recipient.SUM]
    assert {a.light for a in found} == {Light.NOT_KNOWN}
    assert "is not seen" in found[0].words


def test_a_trap_leads_and_names_its_round(about):
    audit = about({"a": FINE, "b": TRAP})
    answer = answers(audit)[0]
    assert answer.light is Light.MAY_LEAK
    assert answer.words.startswith("1 of 2 sites were sent models that look like traps; b: round 3")
    assert lines(audit)[1].odd == 1


def test_a_first_model_alone_is_not_known(about):
    audit = about({"a": FINE, "b": FIRST})
    assert lines(audit)[1].light is Light.NOT_KNOWN
    assert "not every check could judge (step)" in lines(audit)[1].words
    assert answers(audit)[0].light is Light.NOT_KNOWN
    assert answers(audit)[0].words.startswith("b: ")  # of which least is known


@pytest.mark.parametrize("why", [[], [{"what": "b", "why": "the record is damaged"}]])
def test_a_site_that_nobody_looked_at_keeps_it_open(about, why):
    audit = about({"a": FINE}, why)
    assert lines(audit)[1].light is None
    assert lines(audit)[1].words.startswith("not tested: ")
    assert (why == []) == ("nobody looked" in lines(audit)[1].words)
    answer = answers(audit)[0]
    assert answer.light is Light.NOT_KNOWN
    assert answer.words.startswith("of 1 sites it is not known")


def test_an_audit_that_went_on_has_models_that_were_not_looked_at(about):
    audit = about({"a": FINE, "b": FINE}, updates=["0/a"])
    first, second = lines(audit)
    assert first.light is second.light is Light.NOT_KNOWN
    assert first.words.startswith("nothing odd; ")
    assert "later models were not looked at" in second.words


@pytest.mark.parametrize("content", [None, [], {"sites": []}, {"sites": {"a": {"models": [3]}}}])
def test_whatever_else_is_in_the_file_was_not_tested(audited, content):
    audit = audited((), [a_group("a")], beside={} if content is None else {FILE: content})
    assert answers(audit) == []
    assert {one.light for one in lines(audit)} == {None}


def test_the_report_has_a_line_for_every_site(about):
    html = report_of(about({"a": FINE}, [{"what": "b", "why": "<b>damaged"}]).folder).html.decode()
    section = html[html.index('id="models-sent"') :]
    assert "nothing odd; a trap that moves as slowly as training" in section
    assert "not tested: &lt;b&gt;damaged" in section
