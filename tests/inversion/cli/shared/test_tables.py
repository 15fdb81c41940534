"""Tests of medleak.inversion.cli.shared.tables: the help names what there is."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from medleak.filters.registry import ROWS as DEFENCES
from medleak.inversion.attacks.registry import ROWS as ATTACKS
from medleak.inversion.cli import app


@pytest.mark.parametrize("command", ["audit", "calibrate"])
@pytest.mark.parametrize("columns", ["60", "200"])
def test_the_help_has_a_line_for_every_attack_and_defence(command, columns):
    result = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": columns})
    assert result.exit_code == 0
    told = " ".join(result.stdout.split())
    for row in (*ATTACKS, *DEFENCES):
        assert row.name in told
        assert columns == "60" or row.words in told


def test_other_commands_have_no_such_tables():
    assert "row_space" not in CliRunner().invoke(app, ["report", "--help"]).stdout


def test_the_help_does_not_wait_for_torch():
    code = (
        "import sys\n"
        "from medleak.inversion.cli.app import app\n"
        "try: app(['audit', '--help'])\n"
        "except SystemExit: pass\n"
        "print('torch' in sys.modules, file=sys.stderr)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stderr.strip() == "False"
    assert "epochwise_bn" in out.stdout
