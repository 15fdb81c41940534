from dataclasses import replace

import pytest
from tests.inversion.membership.federations import SIZE, asked

from medleak.custom.record import read_record
from medleak.inversion.knowledge import Knowledge
from medleak.inversion.membership.assessor import Assessor, Attacker, Question
from medleak.inversion.observation import observe

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return asked(tmp_path_factory.mktemp("asked"))


def attacker(case, **changes):
    def read(round, site):
        return read_record(case.records, round, site)

    def look(record):
        return observe(record, Knowledge())

    return replace(Attacker(read=read, recorded=read, look=look, knowledge="all"), **changes)


def assessor(case, **changes):
    question = Question(candidates=case.candidates, nonmembers=case.nonmembers, truth=case.truth)
    return Assessor(replace(question, **changes), case.records, ((SIZE, SIZE), 1))


def test_what_the_attacker_holds_is_asked_and_what_was_recorded_is_believed(case):
    """A defence that sends nothing of the site leaves no member, and no contradiction."""
    seen = []

    def read(round, site):
        seen.append((round, site))
        record = read_record(case.records, round, site)
        other = read_record(case.records, round, "site-2")
        return replace(record, update=other.update)

    asker = assessor(case)
    told = asker.assess((0,), "site-1", "row_space", attacker(case), easy=False)
    hidden = asker.assess((0,), "site-1", "row_space", attacker(case, read=read), easy=False)
    assert told.summary()["separation"]["auc"]["value"] > 0.95
    assert hidden.summary()["separation"]["auc"]["value"] < 0.9
    assert not [flaw for flaw in hidden.summary()["flaws"] if "contradicts" in flaw]
    assert seen == [(0, "site-1"), (0, "site-2")]  # the other client is behind it too
    assert [row["member"] for row in hidden.candidates] == [True] * 6 + [False] * 14


def test_an_update_that_contradicts_what_was_said_is_no_evidence(case):
    def look(record):
        spec = record.manifest.known_input().model_copy(update={"mean": (9.0,) * 3})
        manifest = record.manifest.model_copy(update={"input": spec})
        return observe(replace(record, manifest=manifest), Knowledge())

    found = assessor(case).assess(
        (0,), "site-1", "row_space", attacker(case, look=look), easy=False
    )
    assert any("contradicts" in flaw for flaw in found.summary()["flaws"])


def test_lists_that_cannot_be_used_are_refused_before_any_update_is_read(case):
    with pytest.raises(ValueError, match="both candidates and certain non-members"):
        assessor(case, nonmembers=case.candidates)
    with pytest.raises(ValueError, match=r"missing\.json"):
        assessor(case, candidates=case.candidates.with_name("missing.json"))
