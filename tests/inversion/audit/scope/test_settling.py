"""Tests of settling: a site that leaks is left alone, by results and not by chance or by speed."""

import dataclasses
import json

import pytest
import torch
from tests.inversion.audit.audits import KNOWN, outcomes, plan_of
from tests.inversion.report.directories import a_row

from medleak.inversion.audit import run as audit_run
from medleak.inversion.audit.scope import settling
from medleak.inversion.audit.scope.settling import SPENT, Settling
from medleak.inversion.report.completeness import not_examined
from medleak.inversion.report.reading import read_audit
from medleak.inversion.report.verdicts import Light, site_verdicts
from medleak.inversion.results.case import AVERAGE, MEMBERSHIP, Case
from medleak.inversion.results.rows import read_rows


def case(round, site="a", attack="x", seed=0):
    return Case(round, site, attack, "none", "all", seed)


def row(of, ssim):
    fields = {f.name: getattr(of, f.name) for f in dataclasses.fields(Case)}
    return a_row(**fields, ssim=ssim, ssim_prior=0.3)


class Found(dict):
    """Rows by case, as a journal has them."""

    def __call__(self, of):
        return self.get(of)


CASES = [case(r, site, seed=seed) for r in range(3) for site in "ab" for seed in (0, 1)]


def test_a_later_round_waits_for_all_of_the_earlier_and_other_sites_do_not_matter():
    found = Found()
    gate = Settling(CASES, found)
    assert [gate.ready(c) for c in CASES[:4]] == [True] * 4
    assert not gate.ready(case(1, "a"))
    found[case(0, "a", seed=0)] = [row(case(0, "a", seed=0), 0.1)]
    assert not gate.ready(case(1, "a"))
    gate.refused(case(0, "a", seed=1))
    assert gate.ready(case(1, "a"))
    assert not gate.ready(case(1, "b"))
    assert gate.why(case(1, "a")) == ""
    assert gate.ready("an easy case")
    assert gate.why("an easy case") == ""


def test_a_site_whose_image_came_back_is_left_alone_from_the_next_round_on():
    found = Found()
    gate = Settling(CASES, found)
    found[case(0, "a", seed=0)] = [row(case(0, "a", seed=0), 0.95)]
    assert gate.why(case(1, "a")) == ""  # the round is not over, and its other seed is done
    assert gate.why(case(0, "a", seed=1)) == ""
    found[case(0, "a", seed=1)] = [row(case(0, "a", seed=1), 0.1)]
    for later in (case(1, "a"), case(2, "a", seed=1)):
        assert gate.ready(later)
        assert gate.why(later) == "settled to leak after 1 of 3 rounds"
    assert gate.why(case(1, "b")) == ""


def test_who_was_in_and_joined_rounds_are_never_left_out():
    cases = [case(r, attack=a) for r in range(3) for a in (f"{MEMBERSHIP}x", f"{AVERAGE}x")]
    found = Found({c: [row(c, 0.99)] for c in cases[:2]})
    gate = Settling(cases, found)
    assert all(gate.ready(c) and not gate.why(c) for c in cases)


def test_all_looks_together_spend_no_more_error_than_is_stated(monkeypatch):
    spent = []
    monkeypatch.setattr(settling, "settled_at", lambda rows, level: spent.append(level) or False)
    cases = [case(r) for r in range(7)]
    gate = Settling(cases, Found({c: [row(c, 0.1)] for c in cases}))
    assert not any(gate.why(c) for c in cases * 3)
    assert len(spent) == 6  # a look is taken once, and none after the last round
    assert sum(spent) <= SPENT


def test_what_is_known_at_the_end_alone_does_not_decide_earlier():
    """Else an audit that goes on, whose rows have it, would leave out others than one at once."""
    found = Found({c: [dataclasses.replace(row(c, 0.8), ssim_other=0.79)] for c in CASES[:4]})
    with_others = Settling(CASES, found)
    alone = {c: [dataclasses.replace(r, ssim_other=None) for r in of] for c, of in found.items()}
    without = Settling(CASES, Found(alone))
    assert [with_others.why(c) for c in CASES] == [without.why(c) for c in CASES]


@pytest.fixture
def leaking(make_run, tmp_path):
    """Four rounds of a site whose image the attack has, and of one of two images."""
    run = make_run({"site-1": 1, "site-9": 2}, rounds=(0, 1, 2, 3))
    torch.save(run.images("site-1", 16), tmp_path / "image.pt")
    return plan_of(run, tmp_path, attacks=[f"known:file={tmp_path / 'image.pt'}"])


def done(plan):
    return sorted((r.round, r.site, r.ssim) for r in read_rows(plan.out / "results.csv"))


@pytest.mark.slow
def test_a_settled_site_costs_one_round_and_what_was_left_out_is_said(leaking):
    ends = outcomes(leaking, KNOWN, sequential=True)
    assert {(o.case.round, o.case.site) for o in ends if o.rows} == {
        (0, "site-1"),
        *((r, "site-9") for r in range(4)),
    }
    assert [o.case.round for o in ends if o.settled] == [1, 2, 3]
    summary = json.loads((leaking.out / "summary.json").read_bytes())
    assert summary["left"] == []
    assert {s["why"] for s in summary["settled"]} == {"settled to leak after 1 of 4 rounds"}
    audit = read_audit(leaking.out)
    (verdict,) = (v for v in site_verdicts(audit) if v.site == "site-1")
    assert verdict.light is Light.LEAKS
    assert "settled early, and 3 of its cases were left out" in verdict.why
    (said,) = not_examined([audit])
    assert said.startswith("audit: 3 cases of 1 site left out, as it was settled")


@pytest.mark.slow
def test_processes_and_a_second_run_leave_out_the_same(leaking):
    outcomes(leaking, KNOWN, sequential=True)
    alone = done(leaking)
    again = outcomes(leaking, KNOWN, sequential=True)
    assert all(o.kept or o.settled for o in again)
    assert done(leaking) == alone
    there = dataclasses.replace(leaking, out=leaking.out.with_name("processes"))
    outcomes(there, KNOWN, sequential=True, jobs=3)
    assert done(there) == alone


@pytest.mark.slow
def test_without_the_option_later_everything_is_done(leaking):
    outcomes(leaking, KNOWN, sequential=True)
    outcomes(leaking, KNOWN)
    assert len({(r, s) for r, s, _ in done(leaking)}) == 8
    assert json.loads((leaking.out / "summary.json").read_bytes())["settled"] == []
    assert not_examined([read_audit(leaking.out)]) == []


@pytest.mark.slow
def test_what_was_done_before_is_not_said_to_be_left_out(leaking):
    outcomes(leaking, KNOWN)
    ends = outcomes(leaking, KNOWN, sequential=True)
    assert not [o for o in ends if o.settled]
    assert json.loads((leaking.out / "summary.json").read_bytes())["settled"] == []
    assert not_examined([read_audit(leaking.out)]) == []


@pytest.mark.slow
def test_a_site_that_the_whole_rule_does_not_call_leaking_is_done_to_its_end(leaking, monkeypatch):
    monkeypatch.setattr(settling, "settled_at", lambda rows, level: True)
    ends = outcomes(leaking, KNOWN, sequential=True)
    assert {(o.case.round, o.case.site) for o in ends if o.rows} == {
        (0, "site-1"),
        *((r, "site-9") for r in range(4)),
    }
    assert {o.case.site for o in ends if o.settled} == {"site-1"}
    assert audit_run.Settling is Settling
