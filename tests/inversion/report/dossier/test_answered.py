import pytest
from tests.inversion.report.answers import an_answer
from tests.inversion.report.attack_classes.audits import audited
from tests.inversion.report.directories import a_group

from medleak.inversion.report.attack_classes.registry import asked
from medleak.inversion.report.dossier.answered import by_source
from medleak.inversion.report.dossier.sources import SOURCES
from medleak.inversion.report.html.page import render
from medleak.inversion.report.validity import validity

__all__ = ["audited"]


def requirements(audit):
    found = by_source(audit, asked(audit), validity(audit))
    return {(s.name, r.place, r.asks): r for s in found for r in s.requirements}


def test_nothing_that_is_asked_is_left_out_whatever_the_audit_has(audited):
    for audit in (audited((), []), audited((), [a_group("a")])):
        count = sum(len(text.requirements) for text in SOURCES)
        assert len(requirements(audit)) == count


def test_an_audit_of_nothing_has_a_figure_for_no_class(audited):
    for found in requirements(audited((), [])).values():
        assert not [a for a in found.answered_by if "/" in a]
        assert found.open or found.beyond


def test_figures_of_updates_are_none_of_the_final_model(audited):
    found = requirements(audited((), [a_group("site-1")], membership=[an_answer("site-1")]))
    (ehds,) = [r for (name, *_), r in found.items() if name == "ehds_77"]
    assert ehds.status == "no figure"
    assert "model_inversion/final_model: not tested" in ehds.open
    (attacks,) = [r for r in found.values() if r.basis == "secondary" and "regurgitation" in r.asks]
    assert attacks.status == "some figures"
    assert "membership_inference/server: leaks" in attacks.answered_by
    assert "reconstruction/sum: not tested" in attacks.open


@pytest.mark.parametrize("words", ["no legal advice", "What regulations and standards ask"])
def test_the_annex_of_the_report_has_every_requirement(audited, words):
    html = render([audited((), [a_group("a")])]).html.decode()
    assert words in html
    for text in SOURCES:
        assert text.title in html
