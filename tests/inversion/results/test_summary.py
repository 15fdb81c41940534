"""Tests of medleak.inversion.results.summary."""

import dataclasses
import json

import pytest
from tests.inversion.rows import ROW as A_ROW

from medleak.inversion.results.summary import summarise

ROW = dataclasses.replace(
    A_ROW,
    round=2,
    site="site-9",
    attack="row_space:attempts=2",
    knowledge="all, labels inferred",
    seconds=6.5,
)


def measured(ssim, prior, **changes):
    return dataclasses.replace(ROW, ssim=ssim, ssim_prior=prior, **changes)


def test_figures_are_means_over_images_and_say_how_many_were_defined():
    rows = [
        measured(0.9, 0.5, rdlv=0.8),
        measured(0.5, 0.04, reconstruction=1),
        measured(0.7, 0.5, reconstruction=2, rdlv=0.4),
    ]
    summary = summarise(rows, [])
    (site,), (case,) = summary["sites"], summary["cases"]
    ssim = {"mean": 0.7, "min": 0.5, "max": 0.9, "n": 3}
    assert {k: site["ssim"][k] for k in ssim} == pytest.approx(ssim)
    rdlv = {"mean": 0.6, "min": 0.4, "max": 0.8, "n": 2}
    assert {k: site["rdlv"][k] for k in rdlv} == pytest.approx(rdlv)
    assert (site["n"], case["n"], case["seconds"]) == (3, 3, 6.5)
    assert site["mse"] is None
    assert json.dumps(summary, allow_nan=False)


def test_a_site_is_summed_up_over_all_rounds_and_by_round():
    summary = summarise([ROW, dataclasses.replace(ROW, round=3)], [])
    assert [(s["round"], s["n"]) for s in summary["sites"]] == [("all", 2)]
    assert [(s["round"], s["n"]) for s in summary["rounds"]] == [(2, 1), (3, 1)]


def test_sites_are_kept_apart_by_defence_and_knowledge():
    noisy = dataclasses.replace(ROW, defence="percentile_gaussian:sigma0=10")
    blind = dataclasses.replace(ROW, knowledge="without bn_statistics, labels inferred")
    seed = dataclasses.replace(ROW, seed=1)
    summary = summarise([ROW, noisy, blind, seed], [])
    assert [s["n"] for s in summary["sites"]] == [2, 1, 1]
    assert len(summary["cases"]) == 4


def test_health_of_an_attack_stands_beside_the_counts_and_reaches_the_verdict():
    row = measured(0.3, 0.4, rdlv=-0.25)
    unknown = summarise([row], [])
    assert unknown["health"]["easy_case"] == "not run"
    assert unknown["sites"][0]["verdict"].startswith("inconclusive")
    key = f"{row.attack}|{row.knowledge}"
    known = summarise([row], [], {key: {"ssim": 0.93, "reached": True, "seconds": 4.0}})
    assert known["health"][key]["ssim"] == 0.93
    assert known["health"]["easy_case"] == "recovered by 1 of 1 attacks"
    assert known["sites"][0]["verdict"].startswith("no leak found")
    other = summarise([row], [], {"dlg|all": {"ssim": 0.93, "reached": True}})
    assert other["sites"][0]["verdict"].startswith("inconclusive")


def test_no_leak_is_never_said_where_the_attack_was_stuck_without_the_defence():
    health = {f"{ROW.attack}|{ROW.knowledge}": {"ssim": 0.93, "reached": True}}
    lost = measured(0.3, 0.4, rdlv=-0.25, stuck=True)
    noisy = dataclasses.replace(lost, defence="percentile_gaussian:sigma0=10", stuck=False)

    def said(*rows):
        return {s["defence"]: s["verdict"] for s in summarise(rows, [], health)["sites"]}

    assert said(noisy)[noisy.defence].startswith("no leak found")
    assert "without a defence the attack was stuck" in said(lost, noisy)[noisy.defence]
    elsewhere = dataclasses.replace(lost, site="site-7")
    assert said(elsewhere, noisy)[noisy.defence].startswith("no leak found")


def test_contradictions_of_an_update_reach_the_groups_that_it_is_in_and_no_others():
    rows = [measured(0.3, 0.5), measured(0.3, 0.5, round=3)]
    health = {"row_space:attempts=2|all, labels inferred": {"ssim": 0.9, "reached": True}}
    summary = summarise(rows, [], health, {"3/site-9": ["the counters say 2 steps"]})
    said = {g["round"]: "the counters say 2 steps" in g["verdict"] for g in summary["rounds"]}
    assert said == {2: False, 3: True}
    assert "the counters say 2 steps" in summary["sites"][0]["verdict"]
