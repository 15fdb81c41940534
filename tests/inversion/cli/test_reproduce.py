"""Tests of medleak reproduce."""

import pytest
from typer.testing import CliRunner

from medleak.inversion.cli import app


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["tmi2023", "--run", ".", "--data", "."], "--run is a federation"),
        (["medpfl", "--run", "."], "--run is a federation"),
        (["tmi2023", "--data", ".", "--data", "."], "takes one set"),
        (["tmi2023", "--run", "/nowhere"], "/nowhere"),
        (["tmi2023", "--prior", "p.png"], "--prior goes with a run"),
        (["medpfl", "--site", "site-9"], "--site goes with a run"),
        (["medpfl", "--data", "/nowhere"], "/nowhere"),
        (["tmi2023", "--weights", "/nowhere.safetensors"], "/nowhere.safetensors"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_in_one_line(arguments, says, tmp_path):
    done = CliRunner().invoke(app, ["reproduce", *arguments, "--out", str(tmp_path / "out")])
    assert done.exit_code in (1, 2)
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
