"""Tests of medleak.inversion.results.rows."""

import dataclasses

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.inversion.rows import ROW as A_ROW

from medleak.inversion.results.rows import COLUMNS, Row, read_rows, write_rows

ROW = dataclasses.replace(
    A_ROW,
    round=2,
    site="site-9",
    attack="row_space:attempts=2",
    knowledge="all, labels inferred",
    seconds=6.5,
    iterations=900,
    losses="bn=0.002 span=1e-05",
    picture="images/x.png",
)
figures = st.none() | st.floats(allow_nan=False, allow_infinity=False)
words = st.text(st.characters(codec="utf-8", exclude_categories=("Cc",)), min_size=1)


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
