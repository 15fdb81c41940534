"""Tests of medleak.inversion.results.rows."""

import dataclasses
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medleak.inversion.results.rows import (
    COLUMNS,
    Row,
    read_refused,
    read_rows,
    summarise,
    write_json,
    write_rows,
)

ROW = Row(
    round=2,
    site="site-9",
    attack="row_space:attempts=2",
    defence="none",
    declared="none",
    knowledge="all, labels inferred",
    seed=0,
    reconstruction=0,
    seconds=6.5,
    iterations=900,
    attempts=1,
    stuck=False,
    losses="bn=0.002 span=1e-05",
    picture="images/x.png",
)
figures = st.none() | st.floats(allow_nan=False, allow_infinity=False)
words = st.text(st.characters(codec="utf-8", exclude_categories=("Cc",)), min_size=1)


def measured(ssim, prior, **changes):
    return dataclasses.replace(ROW, ssim=ssim, ssim_prior=prior, **changes)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.builds(
        Row,
        **{f.name: figures for f in dataclasses.fields(Row) if f.type == "float | None"},
        round=st.integers(0, 10**6),
        patient=st.none() | st.integers(0, 10**6),
        site_images=st.none() | st.integers(1, 10**6),
        iip_site_match=st.none() | st.booleans(),
        neighbours=st.none() | st.just("3 - 17"),
        gallery=st.none() | st.integers(0, 10**6),
        embedding=st.none() | words,
        site=words,
        attack=words,
        defence=words,
        declared=words,
        knowledge=words,
        seed=st.integers(0, 2**63),
        reconstruction=st.integers(0, 10**4),
        truth_image=st.none() | words,
        iip_match=st.none() | st.booleans(),
        ssim=figures,
        rdlv=figures,
        seconds=st.floats(0, 1e6),
        iterations=st.integers(0, 10**6),
        attempts=st.integers(1, 100),
        stuck=st.booleans(),
        losses=st.just("") | words,
        label=st.none() | st.integers(0, 999),
        picture=words,
    )
)
def test_rows_are_read_back_exactly_as_they_were_written(tmp_path, row):
    write_rows(tmp_path / "results.csv", [ROW, row])
    assert read_rows(tmp_path / "results.csv") == [ROW, row]


def test_there_are_no_rows_without_a_file(tmp_path):
    assert read_rows(tmp_path / "results.csv") == []
    assert read_refused(tmp_path) == []


def test_a_table_of_another_version_is_refused(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text(",".join(COLUMNS[:-1]) + "\n")
    with pytest.raises(ValueError, match="another version wrote it"):
        read_rows(path)


@pytest.mark.parametrize(
    ("before", "after"), [("false", "maybe"), ("6.5", "six"), (",site-9,", ",site-9,more,")]
)
def test_a_damaged_line_is_refused_by_its_number(tmp_path, before, after):
    path = tmp_path / "results.csv"
    write_rows(path, [ROW, ROW])
    path.write_text(path.read_text().replace(before, after))
    with pytest.raises(ValueError, match=r"results\.csv, line 2"):
        read_rows(path)


def test_a_number_that_json_does_not_know_is_never_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert not (tmp_path / "a.json").exists()


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
