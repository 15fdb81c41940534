import pytest
from tests.inversion.report.directories import grid, report_of

from medleak.inversion.dp_audit import beside
from medleak.inversion.report.advice import advice
from medleak.inversion.report.attack_classes.canaries import FILE, lines, refuted, summary
from medleak.inversion.report.verdicts import site_verdicts

TRIED = {
    "kind": "not refuted",
    "canaries": "gradients",
    "rounds": [0, 1],
    "planted": 400,
    "guessed": 120,
    "right": 92,
    "needed": 120,
    "claimed": 7.41,
    "claimed_by": "the site's ledger",
    "delta": 1e-5,
    "bound": 0.78,
}


@pytest.fixture
def about(audited):
    def make(sites, not_tested=(), **more):
        content = {"sites": sites, "not_tested": list(not_tested)} | more
        return audited(grid(["a", "b"], rounds=1, leak={}), beside={FILE: content})

    return make


def status_of(audit):
    return [(one.site, one.status) for one in lines(audit)]


def test_the_report_and_the_command_mean_the_same_file():
    assert beside.FILE == FILE


def test_without_the_file_nobody_tried_and_the_page_says_so(audited):
    audit = audited(grid(["a"], rounds=1))
    assert lines(audit) == []
    assert summary(audit) is None
    section = section_of(audit)
    assert "not tested" in section
    assert "nobody planted canaries" in section


def test_bound_claim_and_guesses_stand_beside_each_other_and_a_site_without_is_not_tested(about):
    audit = about({"a": TRIED})
    first, second = lines(audit)
    assert (first.status, second.status) == ("not refuted", "not tested")
    assert first.claimed == "ε = 7.41 at δ = 1e-05 by the site's ledger"
    assert first.guesses == ("92 of 120 guesses right, of 400 canaries; 120 contradict the claim")
    assert "no proof" in first.words
    assert first.words.endswith("(gradients, rounds 0-1)")
    assert "no canary was planted" in second.words
    section = section_of(audit)
    for said in ("ε = 7.41 at δ = 1e-05", "0.78", "92 of 120", "no proof", "not tested"):
        assert said in section
    assert "no leak found" not in section


def test_what_is_refuted_is_loud_wherever_it_is_read(about):
    audit = about({"a": TRIED | {"kind": "refuted", "right": 120, "bound": 3.4}})
    assert status_of(audit) == [("a", "refuted"), ("b", "not tested")]
    assert refuted(audit) == ["a"]
    assert "the ε of a is REFUTED" in (summary(audit) or "")
    assert "<b>REFUTED</b>" in section_of(audit)
    told = [one.text for one in advice(audit, site_verdicts(audit))]
    assert any(text.startswith("Do not rely on the ε of a:") for text in told)
    assert not any("Keep protections" in text for text in told)


@pytest.mark.parametrize("more", [{"bound": 7.5}, {"right": 120}, {"needed": 92}])
def test_a_file_that_calls_a_contradiction_not_refuted_is_not_believed(about, more):
    assert status_of(about({"a": TRIED | more}))[0] == ("a", "refuted")


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"kind": "out of reach"}, "not known"),
        ({"kind": "no claim", "claimed": None, "needed": None}, "not known"),
        ({"kind": "not refuted", "claimed": None}, "not known"),
        ({"kind": "no leak found"}, "not known"),
        ({"kind": None}, "not known"),
        ({"bound": None}, "not tested"),
        ({"bound": -1}, "not tested"),
        ({"guessed": 0, "right": 0}, "not tested"),
        ({"right": 121}, "not tested"),
        ({"guessed": 500}, "not tested"),
        ({"planted": "many"}, "not tested"),
    ],
)
def test_nothing_that_the_file_says_is_more_than_not_refuted(about, more, status):
    assert status_of(about({"a": TRIED | more}))[0] == ("a", status)


def test_a_site_that_could_not_be_looked_at_says_why(about):
    audit = about({"a": TRIED}, [{"what": "b", "why": "its list is <b>missing</b>"}])
    assert lines(audit)[1].words == "its list is <b>missing</b>"
    assert "its list is &lt;b&gt;missing" in section_of(audit)


def test_a_run_without_canaries_was_not_tested(about):
    audit = about({}, [{"what": "", "why": "no update of the run holds canaries"}])
    assert status_of(audit) == [("a", "not tested"), ("b", "not tested")]
    assert "no update of the run holds canaries" in section_of(audit)


def test_a_site_of_the_run_that_the_audit_is_not_about_has_a_line_too(about):
    assert status_of(about({"z": TRIED}))[-1] == ("z", "not refuted")


def test_the_file_of_another_run_answers_nothing(about):
    other = {"job": "phantom_job", "manifest_sha256": "ef" * 32}
    audit = about({"a": TRIED}, record=other)
    assert {one.status for one in lines(audit)} == {"not tested"}
    assert "not of the run" in lines(audit)[0].words


@pytest.mark.parametrize("content", [[], 3, {"sites": [1]}, {"sites": {"a": 3}}, {"sites": "x"}])
def test_whatever_else_is_in_the_file_tells_nothing(audited, content):
    audit = audited(grid(["a"], rounds=1), beside={FILE: content})
    assert {one.status for one in lines(audit)} <= {"not tested"}
    assert summary(audit) is None
    assert "not tested" in section_of(audit)


def section_of(audit) -> str:
    html = report_of(audit.folder).html.decode()
    section = html[html.index('id="epsilon-tried"') :]
    return section[: section.index("</section>")]
