"""Tests of medleak.inversion.results."""

import dataclasses
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medleak.inversion.results import (
    COLUMNS,
    Row,
    read_refused,
    read_rows,
    summarise,
    verdict,
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
    assert site["ssim"] == pytest.approx({"mean": 0.7, "min": 0.5, "max": 0.9})
    assert site["rdlv"] == pytest.approx({"mean": 0.6, "min": 0.4, "max": 0.8, "n": 2})
    assert (site["n"], case["n"], case["seconds"]) == (3, 3, 6.5)
    assert site["mse"] is None
    assert json.dumps(summary)


def test_sites_are_kept_apart_by_defence_and_knowledge():
    noisy = dataclasses.replace(ROW, defence="percentile_gaussian:sigma0=10")
    blind = dataclasses.replace(ROW, knowledge="without bn_statistics, labels inferred")
    seed = dataclasses.replace(ROW, seed=1)
    summary = summarise([ROW, noisy, blind, seed], [])
    assert [s["n"] for s in summary["sites"]] == [2, 1, 1]
    assert len(summary["cases"]) == 4


def test_a_verdict_names_attack_and_knowledge_and_never_says_safe():
    cases = (
        ([measured(0.9, 0.4), measured(0.3, 0.4)], "leaks: 1 of 2 reconstructions"),
        ([measured(0.3, 0.4)], "no leak found"),
        ([measured(0.3, 0.4, stuck=True)], "inconclusive"),
        ([ROW], "not measured"),
        ([measured(0.5, 0.01)], "leaks"),
    )
    for rows, start in cases:
        text = verdict(rows)
        assert text.startswith(start)
        assert "row_space:attempts=2 knowing all, labels inferred" in text
        assert "safe" not in text


def test_a_failure_without_a_health_check_is_called_no_evidence():
    assert "no evidence of protection" in verdict([measured(0.3, 0.4)])
    assert summarise([ROW], [])["health"]["easy_case"] == "not run"
