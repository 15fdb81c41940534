import pytest

from medleak.inversion.report.attack_classes.registry import ROWS
from medleak.inversion.report.dossier.facts import FACTS
from medleak.inversion.report.dossier.sources import BASES, SOURCES

ASKED = [(text, asks) for text in SOURCES for asks in text.requirements]


@pytest.mark.parametrize(("text", "asks"), ASKED, ids=lambda v: getattr(v, "name", ""))
def test_every_requirement_names_what_there_is_and_how_it_was_read(text, asks):
    rows = {row.name: row for row in ROWS}
    for name, recipient in asks.classes:
        assert recipient is None or recipient in rows[name].recipients
    assert set(asks.facts) <= set(FACTS)
    assert asks.basis in BASES
    assert asks.place
    assert asks.asks.endswith(".")


def test_what_nothing_of_an_audit_speaks_to_says_so():
    for _, asks in ASKED:
        assert asks.classes or asks.facts or asks.beyond


def test_every_fact_is_asked_for_by_some_source():
    assert {name for _, asks in ASKED for name in asks.facts} == set(FACTS)


def test_the_sources_of_the_annex_are_all_there_and_only_read_texts_are_called_read():
    names = {text.name for text in SOURCES}
    assert names == {
        "edpb_28_2024",
        "ai_act_15_5",
        "ehds_77",
        "nist_800_226",
        "iso_27559",
        "ico_pets",
    }
    bases = {text.name: {a.basis for a in text.requirements} for text in SOURCES}
    assert bases["iso_27559"] == {"headings"}
    assert "text" not in bases["nist_800_226"]
