"""Who was in: said where it was asked, and said to be untested where it was not."""

from dataclasses import replace

import pytest
from tests.inversion.report.answers import an_answer
from tests.inversion.report.directories import REACHED, a_figure, a_group, report_of

from medleak.inversion.report import who
from medleak.inversion.report.advice import advice
from medleak.inversion.report.completeness import not_examined
from medleak.inversion.report.fail_if import failures, parse
from medleak.inversion.report.reading import read_audit
from medleak.inversion.report.verdicts import Light, headline, site_verdicts
from medleak.inversion.report.wording import unknown

NOISE = "percentile_gaussian:sigma0=10"
TELLS, HIDES = an_answer("site-1"), an_answer("site-1", gap=0.0, members=150, others=150)
NOTHING = {"rdlv": a_figure(-0.3), "ssim": a_figure(0.3)}
GROUPS = (a_group("site-1", **NOTHING),)
GATE = "membership.auc.upper95 > 0.6"


@pytest.fixture
def audited(directory):
    def make(*answers, groups=GROUPS, **more):
        folder = directory.write(
            [], groups, health=REACHED, pictures=False, membership=answers, **more
        )
        return read_audit(folder)

    return make


def test_what_was_not_asked_is_not_tested(audited):
    audit = audited()
    (verdict,) = site_verdicts(audit)
    assert verdict.light is Light.NONE_FOUND
    assert verdict.who.startswith("not tested")
    assert any("in the data of site-1: not tested" in line for line in unknown(audit))
    (failed,) = failures(audit, parse(GATE))
    assert "not tested" in failed.why
    assert "Who was in: not tested" in report_of(audit.folder).html.decode()


def test_members_that_are_told_make_the_light_worse_and_advise_of_themselves(audited):
    audit = audited(TELLS)
    (verdict,) = site_verdicts(audit)
    assert verdict.light is Light.LEAKS
    assert not verdict.images_leak
    assert verdict.who.startswith("leaks: members are told from others: AUC 0.9")
    assert headline([verdict]) == "site-1 tells who was in its data."
    commands = " ".join(a.copy for a in advice(audit, [verdict]))
    assert "--until membership" in commands
    untested = [line for line in unknown(audit) if "not tested" in line]
    assert not any("in the data of" in line or "membership" in line for line in untested)
    html = report_of(audit.folder).html.decode()
    assert "site-1 tells who was in its data." in html
    assert '<path class="band"' in html


def test_the_headline_passes_over_nobody_whose_members_are_told(audited):
    (told,) = site_verdicts(audited(TELLS))
    leaks = replace(told, site="site-2", images_leak=True)
    images = "site-2 leaks its patients' images"
    assert headline([leaks, told]) == f"{images}; 1 more tells who was in."
    assert headline([told, leaks, told]) == f"{images}; 2 more tell who was in."


def test_nobody_told_makes_no_light_better(audited):
    leaking = a_group("site-1", rdlv=a_figure(0.3))
    (verdict,) = site_verdicts(audited(HIDES, groups=[leaking]))
    assert verdict.light is Light.LEAKS
    assert verdict.images_leak
    assert headline([verdict]) == "site-1 leaks its patients' images."
    (alone,) = site_verdicts(audited(HIDES, groups=[]))
    assert alone.light is Light.NOT_KNOWN
    assert alone.who.startswith("no leak found by membership")


def test_what_was_asked_only_behind_a_replayed_defence_says_nothing_of_what_was_sent(audited):
    hidden = an_answer("site-1", gap=0.0, defence=NOISE)
    audit = audited(hidden)
    assert who.in_words(audit, "site-1").startswith("not tested of what was sent")
    assert who.untested(audit) == "site-1"


@pytest.mark.parametrize(
    ("answers", "condition", "why"),
    [
        ([TELLS], GATE, "membership.auc.upper95 = 0.9"),
        ([HIDES], GATE, ""),
        ([HIDES, TELLS], GATE, "membership.auc.upper95 = 0.9"),  # none hides behind another
        ([HIDES], "membership.tpr_1.lower95 > 0.05", ""),
        ([TELLS], "membership.tpr_01.mean > 0", "membership.tpr_01.mean"),
        ([HIDES | {"flaws": ["no easy case"]}], GATE, "undefined: membership.auc.upper95, as no e"),
        ([{k: v for k, v in HIDES.items() if k != "flaws"}], GATE, "does not say whether"),
        ([HIDES | {"separation": None}], GATE, "undefined"),
        ([HIDES, HIDES | {"separation": None, "round": 1}], GATE, "undefined"),
        ([HIDES | {"verdict": "safe", "verdict_kind": "safe"}], GATE, "no verdict"),
        ([HIDES | {"site": "site-2"}], GATE, "not tested"),
        ([HIDES | {"defence": NOISE}], GATE, "not tested"),
        ([HIDES], f"{GATE} or rdlv.upper95 > 0", ""),
        ([TELLS], f"{GATE} and rdlv.upper95 > 0", ""),
    ],
)
def test_the_gate_lets_by_what_was_asked_and_is_low_and_sound(audited, answers, condition, why):
    found = failures(audited(*answers), parse(condition))
    of_site = [f.why for f in found if f.site == "site-1" and f.defence == "none"]
    assert [why in text for text in of_site] == [True] * bool(why)


def test_a_site_of_which_only_membership_was_asked_meets_no_condition_on_images(audited):
    (failed,) = failures(audited(HIDES, groups=[]), parse("rdlv.upper95 > 0"))
    assert "no original to compare with" in failed.why
    assert failures(audited(HIDES, groups=[]), parse(GATE)) == []


def test_an_update_without_an_answer_where_it_was_asked_is_not_examined(audited):
    config = {
        "updates": {"0/site-1": {}, "1/site-1": {}},
        "attacks": {},
        "membership": {"scores": ["row_space"]},
    }
    (sentence,) = not_examined([audited(TELLS, config=config)])
    assert "of 1 updates there is neither an answer nor a reason (1/site-1)" in sentence
    config["membership"] = {"scores": ["average/row_space"]}
    assert not_examined([audited(TELLS | {"round": 1}, config=config)]) == []


@pytest.mark.parametrize(
    "damage",
    [
        {"separation": {"auc": {"value": 2.0, "lower95": 0.1, "upper95": 3.0}}},
        {"separation": "none", "nulls": {"auc": 1}, "flaws": "none"},
        {"separation": {"auc": 0.5, "curve": [{"fpr": 0}, {"fpr": -1}, 3]}, "seed": []},
        {"recognised_patients": -4, "candidates": "many", "verdict": {"a": []}},
    ],
)
def test_an_answer_that_somebody_wrote_by_hand_is_no_all_clear(audited, damage):
    audit = audited(HIDES | damage)
    report_of(audit.folder)
    if "separation" in damage:
        assert [f for f in failures(audit, parse(GATE)) if "undefined" in f.why]
    assert len(read_audit(audit.folder).membership) == 1
    nameless = audited({k: v for k, v in HIDES.items() if k != "site"})
    assert nameless.membership == []
