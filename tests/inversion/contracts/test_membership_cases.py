"""Membership as cases of an audit: plan, journal, resume, replayed defences, config."""

import json
import pickle
import shutil

import pytest
from tests.inversion.membership.federations import asked, patients

from medleak.inversion.audit.plan import Plan
from medleak.inversion.audit.run import audit, estimate_cost
from medleak.inversion.membership.assessor import Question
from medleak.inversion.membership.files import read_answers

pytestmark = pytest.mark.slow

NOISE = "percentile_gaussian:sigma0=10"


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return asked(tmp_path_factory.mktemp("asked"))


def plan(case, out, **changes):
    question = Question(candidates=case.candidates, nonmembers=case.nonmembers, truth=case.truth)
    settings = {"defences": ["none", NOISE], "seeds": [0, 1], "sites": ["site-1"], **changes}
    settings = {"question": question, "scores": ["row_space"], **settings}
    return Plan(records=case.records, out=out, truth=case.truth, attacks=[], **settings)


@pytest.fixture(scope="module")
def finished(case, tmp_path_factory):
    """An audit of what site-1 sent, as it is and under noise of two seeds."""
    done = plan(case, tmp_path_factory.mktemp("finished") / "audit")
    assert estimate_cost(done).cases == 3  # without noise a second seed would say the same
    return done.out, list(audit(done))


@pytest.fixture
def out(finished, tmp_path):
    """A copy of that audit."""
    return shutil.copytree(finished[0], tmp_path / "audit")


def test_members_are_known_in_what_was_sent_and_not_under_noise(case, finished):
    out, outcomes = finished
    bare, *noisy = [o.answer.summary for o in outcomes]
    assert bare["verdict_kind"] == "leaks"
    assert bare["easy_auc"] > 0.95
    assert [n["verdict_kind"] for n in noisy] == ["inconclusive"] * 2
    assert noisy[0]["separation"] != noisy[1]["separation"]  # each seed has noise of its own
    assert {n["easy_auc"] for n in noisy} == {bare["easy_auc"]}
    summary = json.loads((out / "summary.json").read_text())
    assert [m["defence"] for m in summary["membership"]] == ["none", NOISE, NOISE]
    content = b"".join(p.read_bytes() for p in out.rglob("*") if p.is_file())
    assert not [n for n in patients(case.candidates) if n.encode() in content]


def test_what_is_done_is_kept_and_a_site_may_be_added(case, out):
    more = plan(case, out, sites=None, defences=["none"])
    assert [o.kept for o in audit(more, health=False)] == [True, False]
    assert len(read_answers(out)) == 4
    assert estimate_cost(more).kept == 2
    assert not read_answers(out)[more.cases()[1]].summary["easy_auc"]


def test_a_killed_audit_goes_on_from_its_journal(case, finished, out):
    found = finished[1]
    # What a kill leaves: a line for each finished case, and half of another.
    lines = [json.dumps({"answer": o.answer.as_json(o.case)}).encode() for o in found[:2]]
    (out / "membership.json").unlink()
    (out / "journal.jsonl").write_bytes(b"\n".join([*lines, b'{"answer": {"ca']))
    again = list(audit(plan(case, out)))
    assert [o.kept for o in again] == [True, True, False]
    for before, after in zip(found, again, strict=True):
        assert after.answer is not None
        assert after.answer.candidates == before.answer.candidates
        assert after.answer.summary == before.answer.summary


def test_other_images_are_another_audit(case, out):
    lists = json.loads(case.candidates.read_text())
    lists["training"] = lists["training"][:-1]
    fewer = case.candidates.with_name("fewer.json")
    fewer.write_text(json.dumps(lists))
    question = Question(candidates=fewer, nonmembers=case.nonmembers, truth=case.truth)
    with pytest.raises(ValueError, match="holds another audit: its membership candidates"):
        audit(plan(case, out, question=question))
    # Without a question it is the same audit, and the answers stay.
    assert list(audit(plan(case, out, question=None))) == []
    assert len(read_answers(out)) == 3
    assert "membership" in json.loads((out / "config.json").read_text())


def test_an_update_that_cannot_be_asked_is_refused_by_name(case, tmp_path):
    done = plan(case, tmp_path / "audit", defences=["none"])
    path = case.records / "round_0000" / "site-1.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    try:
        (refused,) = audit(done)
    finally:
        path.write_bytes(whole)
    assert "site-1.safetensors" in (refused.refused or "")
    assert refused.answer is None
    (mended,) = audit(done, health=False)
    assert mended.answer is not None
    assert json.loads((done.out / "summary.json").read_text())["refused"] == []


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"scores": ["lira"]}, "Unknown membership score"), ({"sites": ["nobody"]}, "Site nobody")],
)
def test_what_cannot_be_asked_is_said_at_once_and_nothing_is_written(case, tmp_path, changes, why):
    with pytest.raises(ValueError, match=why):
        audit(plan(case, tmp_path / "audit", **changes))
    assert not (tmp_path / "audit").exists()


def test_an_answer_goes_to_other_processes(finished):
    outcome = finished[1][0]
    assert pickle.loads(pickle.dumps(outcome)).answer.summary == outcome.answer.summary  # noqa: S301
