"""The light follows its rule, and nothing is ever called safe."""

import json
import re

import pytest
from tests.inversion.report.directories import (
    KNOWLEDGE,
    REACHED,
    a_figure,
    a_group,
    a_row,
    grid,
    report_of,
)

from medleak.inversion.report.advice import advice
from medleak.inversion.report.reading import read_audit
from medleak.inversion.report.verdicts import Light, headline, light_of, site_verdicts
from medleak.inversion.results.summary import summarise

FAILED = {f"row_space|{KNOWLEDGE}": {"ssim": 0.3, "reached": False, "seconds": 1.0}}
NOTHING = {"rdlv": a_figure(-0.3), "ssim": a_figure(0.3)}
FOUND = "found, not identified: by its own losses the attack found images (row_space; 4 images)"
DOUBT = "inconclusive: the attack was stuck by its own loss (row_space; 4 images)"


def judge(directory, health=None, **fields):
    folder = directory.write([], [a_group("site-1", **fields)], health=health, pictures=False)
    audit = read_audit(folder)
    return light_of(audit.groups[0], audit.health)[0]


@pytest.mark.parametrize(
    ("fields", "health", "light"),
    [
        ({"verdict": "leaks: 1 of 4 have SSIM >= 0.9 (row_space)"}, None, Light.LEAKS),
        ({"verdict": "leaks: IIP 0.50 (row_space)"} | NOTHING, REACHED, Light.LEAKS),
        ({"verdict": FOUND} | NOTHING, REACHED, Light.FOUND),
        ({"verdict": FOUND, "rdlv": None}, None, Light.FOUND),
        ({"verdict": DOUBT, "rdlv": a_figure(0.01)}, REACHED, Light.MAY_LEAK),
        ({"verdict": DOUBT, "rdlv": {"mean": 0.1, "n": 1}}, REACHED, Light.MAY_LEAK),
        ({"verdict": DOUBT} | NOTHING, REACHED, Light.NOT_KNOWN),
        ({"verdict": DOUBT, "rdlv": None}, REACHED, Light.NOT_KNOWN),
        ({"ssim": None, "rdlv": None}, REACHED, Light.NOT_KNOWN),
        (NOTHING, None, Light.NOT_KNOWN),
        (NOTHING, FAILED, Light.NOT_KNOWN),
        (NOTHING, REACHED, Light.NONE_FOUND),
        ({"verdict": ""} | NOTHING, REACHED, Light.NOT_KNOWN),
        ({"verdict": "certified safe"} | NOTHING, REACHED, Light.NOT_KNOWN),
    ],
)
def test_the_light_is_the_audits_verdict_and_only_ever_worse(directory, fields, health, light):
    assert judge(directory, health, **fields) is light


@pytest.mark.parametrize(
    ("ssim", "light"), [(0.97, Light.LEAKS), (0.7, Light.LEAKS), (0.2, Light.NOT_KNOWN)]
)
def test_the_verdict_of_a_real_summary_is_understood(directory, ssim, light):
    figures = {"ssim": ssim, "ssim_prior": 0.5, "rdlv": (ssim - 0.5) / 0.5}
    rows = [
        a_row("s", reconstruction=k, truth_image=f"training[{k}]", patient=k, **figures)
        for k in range(3)
    ]
    groups = summarise(rows, [])["sites"]
    audit = read_audit(directory.write(rows, groups, pictures=False))
    assert [light_of(g, audit.health)[0] for g in audit.groups] == [light]


def test_the_worst_attack_on_what_was_sent_decides_and_a_replayed_defence_does_not(directory):
    weak = a_group("site-1", attack="dlg", rdlv=a_figure(-0.5), ssim=a_figure(0.2))
    protected = a_group("site-1", defence="percentile_gaussian:sigma0=10", **NOTHING)
    folder = directory.write([], [weak, protected, a_group("site-1")], pictures=False)
    (verdict,) = site_verdicts(read_audit(folder))
    assert verdict.light is Light.LEAKS
    assert verdict.group is not None
    assert (verdict.group.attack, verdict.replayed) == ("row_space", None)


def test_an_audit_of_replayed_defences_alone_says_which_one_was_judged(directory):
    stronger = a_group("s", defence="percentile_gaussian:sigma0=10", **NOTHING)
    weaker = a_group("s", defence="percentile_gaussian:sigma0=2")
    folder = directory.write([], [stronger, weaker], pictures=False)
    (verdict,) = site_verdicts(read_audit(folder))
    assert verdict.replayed == "percentile_gaussian:sigma0=2"


def test_a_refused_case_takes_no_leak_found_away_but_leaves_a_leak(directory):
    case = {"round": 1, "site": "site-1", "attack": "row_space"}
    refused = [{"case": case, "why": "hashes differ"}]
    folder = directory.write(
        [], [a_group("site-1", **NOTHING)], refused=refused, health=REACHED, pictures=False
    )
    assert site_verdicts(read_audit(folder))[0].light is Light.NOT_KNOWN
    folder = directory.write([], [a_group("site-1")], refused=refused, pictures=False)
    assert site_verdicts(read_audit(folder))[0].light is Light.LEAKS


def test_a_case_that_is_not_done_takes_no_leak_found_away_but_leaves_a_leak(directory):
    left = [{"round": 1, "site": "site-1"}, {"round": 2, "site": "site-1"}]
    groups = [a_group("site-1", **NOTHING), a_group("site-2", **NOTHING)]
    folder = directory.write([], groups, left=left, health=REACHED, pictures=False)
    first, second = sorted(site_verdicts(read_audit(folder)), key=lambda v: v.site)
    assert (first.light, second.light) == (Light.NOT_KNOWN, Light.NONE_FOUND)
    assert "2 of its cases are not done" in first.why
    folder = directory.write([], [a_group("site-1")], left=left, pictures=False)
    assert site_verdicts(read_audit(folder))[0].light is Light.LEAKS


def test_a_site_that_was_not_come_to_is_listed_as_not_known(directory):
    folder = directory.write([], [], left=[{"site": "site-4"}])
    (verdict,) = site_verdicts(read_audit(folder))
    assert (verdict.site, verdict.light) == ("site-4", Light.NOT_KNOWN)
    assert "stopped" in verdict.why


def test_a_site_that_was_settled_by_what_is_no_leak_any_more_is_not_cleared(directory):
    case = {"round": 1, "site": "a", "attack": "row_space", "defence": "none"}
    settled = [{"case": case, "why": "settled to leak after 1 of 2 rounds"}]
    folder = directory.write((), [a_group("a", **NOTHING)], health=REACHED, settled=settled)
    (verdict,) = site_verdicts(read_audit(folder))
    assert verdict.light is Light.NOT_KNOWN
    assert "1 of its cases were left out" in verdict.why


def test_what_a_sample_left_out_is_cleared_nowhere(directory):
    sample = {"strata": [], "not_examined": {"site-1": 5, "site-3": 6}}
    groups = [a_group(f"site-{k}", **NOTHING) for k in (1, 2)]
    folder = directory.write([], groups, health=REACHED, pictures=False, config={"sample": sample})
    first, second, third = sorted(site_verdicts(read_audit(folder)), key=lambda v: v.site)
    assert (first.light, second.light, third.light) == (
        Light.NOT_KNOWN,
        Light.NONE_FOUND,
        Light.NOT_KNOWN,
    )
    assert "in what was looked at; 5 of its updates were not drawn" in first.why
    assert third.why == "not looked at: the audit drew other sites"
    groups = [a_group("site-1")]
    folder = directory.write([], groups, pictures=False, config={"sample": sample})
    assert site_verdicts(read_audit(folder))[0].light is Light.LEAKS


def test_a_site_that_was_only_refused_is_listed_with_the_reason(directory):
    refused = [{"case": {"round": 0, "site": "site-4"}, "why": "hashes differ"}]
    (verdict,) = site_verdicts(read_audit(directory.write([], [], refused=refused)))
    assert (verdict.site, verdict.light) == ("site-4", Light.NOT_KNOWN)
    assert "hashes differ" in verdict.why


def test_sites_stand_worst_first_and_in_natural_order(directory):
    groups = [a_group(f"site-{k}", **({} if k in (10, 2) else NOTHING)) for k in (1, 10, 2)]
    folder = directory.write([], groups, health=REACHED, pictures=False)
    assert [v.site for v in site_verdicts(read_audit(folder))] == ["site-2", "site-10", "site-1"]


@pytest.mark.parametrize(
    ("sites", "words"),
    [
        ({"site-9": 0.2}, "site-9 leaks its patients' images."),
        ({"a": 0.2, "b": 0.2}, "a and b leak their patients' images."),
        ({c: 0.2 for c in "abcd"} | {"e": -0.5}, "4 of 5 sites leak their patients' images."),
        ({"a": 0.01}, "a may leak: a leak is neither shown nor excluded."),
        ({"a": -0.5}, "No leak was found by the attacks that were tried."),
        ({"a": None}, "What leaks is not known: the measurement is incomplete."),
        ({}, "Nothing was attacked, so nothing is known."),
    ],
)
def test_the_headline_names_what_is_worst(directory, sites, words):
    groups = [a_group(s, rdlv=None if m is None else a_figure(m)) for s, m in sites.items()]
    folder = directory.write([], groups, health=REACHED, pictures=False)
    assert headline(site_verdicts(read_audit(folder))) == words


def test_a_leak_without_calibration_is_answered_by_the_command_that_finds_one(directory):
    audit = read_audit(directory.write([], [a_group("site-9")], pictures=False))
    said = advice(audit, site_verdicts(audit))
    assert any("medleak calibrate RUN --site site-9" in a.copy for a in said)


def test_the_weakest_replayed_protection_that_held_is_named_but_not_relied_upon(directory):
    spec = "percentile_gaussian:sigma0="
    held = {s: a_figure(m) for s, m in ((1, 0.3), (10, -0.2), (3, -0.1))}
    groups = [a_group("s"), *(a_group("s", defence=f"{spec}{s}", rdlv=f) for s, f in held.items())]
    audit = read_audit(directory.write([], groups, pictures=False))
    (said,) = [a.text for a in advice(audit, site_verdicts(audit)) if "weakest" in a.text]
    assert f"{spec}3 is the weakest" in said
    assert "Confirm it by calibration" in said


def test_the_command_keeps_the_run_the_prior_and_the_truth_of_the_audit(directory):
    command = ["medleak", "audit", "runs/a", "--prior", "p.png", "--truth", "lists", "--seed", "1"]
    config = {"runs": [{"command": command}]}
    audit = read_audit(directory.write([], [a_group("s")], config=config, pictures=False))
    said = advice(audit, site_verdicts(audit))
    wanted = "medleak calibrate runs/a --site s --scope group --prior p.png --truth lists"
    assert any(a.copy == wanted for a in said)


def test_the_command_keeps_what_the_auditor_said_of_the_record(directory):
    said = ("--schedule", "n_images=4,lr=0.01", "--input", "32x32x1", "--mean", "0.5", "--std", "1")
    said += ("--task", "bce:14", "--model", "lab.net", "--base", "base.safetensors")
    joined = [f"{name}={value}" for name, value in zip(said[::2], said[1::2], strict=True)]
    for command in (said, joined):
        config = {"runs": [{"command": ["medleak", "audit", "runs/a", *command]}]}
        audit = read_audit(directory.write([], [a_group("s")], config=config, pictures=False))
        wanted = f"medleak calibrate runs/a --site s --scope group {' '.join(said)}"
        assert wanted in [a.copy for a in advice(audit, site_verdicts(audit))]


def test_updates_that_contradict_what_was_said_are_no_all_clear_and_are_asked_about(
    directory,
):
    config = {"said": {"0/site-1": {"contradictions": ["n_steps is 9"]}}}
    groups = [a_group("site-1", **NOTHING)]
    audit = read_audit(directory.write([], groups, health=REACHED, config=config, pictures=False))
    light, why = light_of(audit.groups[0], audit.health)
    assert light is Light.NOT_KNOWN
    assert "n_steps is 9" in why
    assert any("how it trained" in a.text for a in advice(audit, site_verdicts(audit)))


def test_the_command_quotes_what_a_shell_would_obey(directory):
    audit = read_audit(directory.write([], [a_group("x; rm -rf /")], pictures=False))
    said = advice(audit, site_verdicts(audit))
    assert any("--site 'x; rm -rf /'" in a.copy for a in said)


def test_a_calibrated_leak_is_answered_by_the_lines_to_paste(directory):
    folder = directory.write([], [a_group("site-9")], pictures=False)
    entry = {
        "defence": "percentile_gaussian:scope=group",
        "parameter": "sigma0",
        "strength": 4,
        "why": "confirmed",
        "privacy_json": {"path": "medleak.filters.adapters.PercentileGaussian"},
    }
    (folder / "calibration.json").write_text(json.dumps({"site-9": entry}))
    audit = read_audit(folder)
    said = advice(audit, site_verdicts(audit))
    assert any("PercentileGaussian" in a.copy for a in said)
    assert any("percentile_gaussian:scope=group,sigma0=4 is the least" in a.text for a in said)
    assert not any("calibrate" in a.copy for a in said)


def test_the_best_reconstruction_of_a_site_is_the_most_similar_as_sent(directory):
    rows = grid(["site-1"], rounds=2, defences=["none", "top_k:fraction=0.1"], images=2)
    rows.append(a_row("site-1", seed=4, ssim=0.99, defence="top_k:fraction=0.1"))
    (verdict,) = site_verdicts(read_audit(directory.write(rows, pictures=False)))
    assert verdict.best is not None
    assert verdict.best.defence == "none"
    assert verdict.best.ssim == max(r.ssim or 0 for r in rows if r.defence == "none")


def test_no_report_calls_anything_safe(directory):
    groups = [a_group("a", **NOTHING), a_group("b")]
    folder = directory.write([], groups, health=REACHED, pictures=False)
    html = report_of(folder).html.decode()
    assert "no leak found" in html
    assert re.findall(r"(?i)\bsafe\b|\bcertified\b|\bsecure\b", html) == []


def test_images_that_are_on_no_list_are_named_in_headline_and_advice(directory):
    groups = [a_group("a", verdict=FOUND, **NOTHING), a_group("b", **NOTHING)]
    audit = read_audit(directory.write([], groups, health=REACHED, pictures=False))
    verdicts = site_verdicts(audit)
    assert [v.light for v in verdicts] == [Light.FOUND, Light.NONE_FOUND]
    assert headline(verdicts) == "Of a images were found that are on no list: count it as a leak."
    said = [a.text for a in advice(audit, verdicts)]
    assert any("Look at what came back of a" in text and "--truth" in text for text in said)
    assert not any("Keep protections" in text for text in said)


def test_a_declaration_that_the_update_contradicts_is_to_be_corrected(directory):
    (key,) = REACHED
    health = {key: {"ssim": 0.97, "reached": False, "contradiction": "it fits another std"}}
    audit = read_audit(
        directory.write([], [a_group("a", **NOTHING)], health=health, pictures=False)
    )
    said = [a.text for a in advice(audit, site_verdicts(audit))]
    assert any("how it normalises its images" in text for text in said)
