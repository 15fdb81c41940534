"""What to do next is in order of urgency, true to what was measured, and short."""

import json

import pytest
from tests.inversion.report.directories import KNOWLEDGE, REACHED, a_figure, a_group

from medleak.inversion.report.advice import advice
from medleak.inversion.report.reading import read_audit
from medleak.inversion.report.verdicts import site_verdicts

NOTHING = {"rdlv": a_figure(-0.3), "ssim": a_figure(0.3)}
NOISE = "percentile_gaussian:sigma0=3"


def said(directory, groups, **written):
    audit = read_audit(directory.write([], groups, pictures=False, **written))
    return [a.text for a in advice(audit, site_verdicts(audit))]


def test_to_stop_sending_comes_first(directory):
    first = said(directory, [a_group("b", **NOTHING), a_group("a")])[0]
    assert first.startswith("Let a send no further update without a protection")


def test_a_protection_that_did_not_prevent_the_leak_is_named(directory):
    first = said(directory, [a_group("a", declared=NOISE), a_group("b")])[0]
    assert f"The protection of a, {NOISE}, did not prevent the leak." in first
    assert first.count("did not prevent") == 1


def test_a_replayed_protection_under_which_an_image_came_back_did_not_hold(directory):
    one_whole = {"rdlv": a_figure(-0.3), "ssim": {"mean": 0.3, "max": 0.95, "n": 4}}
    groups = [a_group("a"), a_group("a", defence=NOISE, **one_whole)]
    assert not any("weakest" in text for text in said(directory, groups, health=REACHED))


@pytest.mark.parametrize(("health", "doubted"), [(REACHED, False), (None, True)])
def test_that_nothing_came_back_is_doubted_where_the_attack_may_have_failed(
    directory, health, doubted
):
    groups = [a_group("a"), a_group("a", defence=NOISE, **NOTHING)]
    (text,) = [t for t in said(directory, groups, health=health) if "weakest" in t]
    assert ("may only have failed" in text) is doubted


@pytest.mark.parametrize(
    ("fields", "health", "remedy"),
    [
        ({"ssim": None, "rdlv": None}, None, "--truth"),
        (NOTHING, None, "without --no-health"),
        (
            NOTHING,
            {f"row_space|{KNOWLEDGE}": {"ssim": 0.3, "reached": False}},
            "more time for the attack, or with another one",
        ),
        (
            {**NOTHING, "stuck": 2, "verdict": "inconclusive: stuck (row_space; 4)"},
            REACHED,
            "more time for the attack, or further seeds",
        ),
        ({"rdlv": None}, REACHED, "a prior of public images"),
    ],
)
def test_what_is_not_known_comes_with_the_way_to_know_it(directory, fields, health, remedy):
    (text,) = said(directory, [a_group("a", **fields)], health=health)
    assert "until then count it as leaking" in text
    assert remedy in text


def test_a_record_that_could_not_be_attacked_is_to_be_checked(directory):
    refused = [{"case": {"site": "a", "round": 0}, "why": "the hashes differ"}]
    (text,) = said(directory, [], refused=refused)
    assert "the hashes differ. Check the record (medleak records verify)" in text


def test_sites_of_one_reason_are_named_together(directory):
    groups = [a_group(site, ssim=None, rdlv=None) for site in "abc"]
    (text,) = said(directory, groups)
    assert "a, b and c: no original to compare with" in text
    assert text.count("--truth") == 1


def test_where_nothing_was_attacked_that_is_said(directory):
    assert said(directory, []) == ["Audit again: nothing was attacked, so nothing can be said."]


def test_of_very_many_sites_the_list_stays_short(directory):
    groups = [a_group(f"s{k}") for k in range(60)]
    held = [a_group(f"s{k}", defence=NOISE, **NOTHING) for k in range(60)]
    entry = {"defence": "top_k", "parameter": "fraction", "strength": 0.1, "why": "w"}
    folder = directory.write([], groups + held, pictures=False)
    calibration = {f"s{k}": entry for k in range(30)}
    (folder / "calibration.json").write_text(json.dumps(calibration))
    audit = read_audit(folder)
    assert len(advice(audit, site_verdicts(audit))) <= 20
