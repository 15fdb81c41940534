import json

import pytest
from tests.inversion.figures.sweeps import row, sweep
from typer.testing import CliRunner

from medleak.inversion.cli import app


def medleak(*arguments: object):
    return CliRunner().invoke(app, ["figures", *map(str, arguments)])


def test_figures_and_table_are_written_and_what_is_missing_is_said(make_audit):
    out = make_audit(sweep())
    done = medleak(out)
    assert done.exit_code == 0, done.stderr
    written = {p.name for p in (out / "figures").iterdir()}
    assert written == {
        *(f"{n}.png" for n in ("rounds", "ssim", "rdlv", "iip", "noise")),
        *("table.md", "table.csv"),
    }
    assert "medleak: no figure front: " in done.stderr
    assert "utility.json" in done.stderr


def test_what_only_asks_for_must_be_made(make_audit, tmp_path):
    out = make_audit([row()])
    assert medleak(out, "--only", "rdlv").exit_code == 2
    done = medleak(out, "--only", "rounds", "--format", "svg", "--out", tmp_path / "f")
    assert done.exit_code == 0, done.stderr
    assert [p.name for p in (tmp_path / "f").iterdir()] == ["rounds.svg"]
    assert medleak(out, "--only", "table", "--out", tmp_path / "t").exit_code == 0
    assert {p.name for p in (tmp_path / "t").iterdir()} == {"table.md", "table.csv"}


def test_json_names_each_figure_and_its_file(make_audit):
    out = make_audit([row()])
    done = medleak(out, "--only", "rounds", "--only", "rdlv", "--json")
    found = {d["name"]: d for d in json.loads(done.stdout)}
    assert found["rounds"]["path"] == str(out / "figures" / "rounds.png")
    assert "percentile_gaussian" in found["rdlv"]["missing"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--only", "rdlw"], "rdlw"),
        (["--attack", "cpl"], "row_space"),
        (["--run", "/nowhere"], "/nowhere"),
        (["--embedding", "/nowhere.safetensors"], "/nowhere.safetensors"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_in_one_line(arguments, says, make_audit):
    done = medleak(make_audit([row()]), *arguments)
    assert done.exit_code in (1, 2)
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_directory_that_is_no_audit_is_refused(tmp_path):
    done = medleak(tmp_path)
    assert done.exit_code == 2
    assert "results.csv" in done.stderr
