"""Tests of the root of the command."""

import subprocess
import sys

import pytest
from tests.inversion.cli.commands import medleak

COMMANDS = (["audit"], ["records", "ls"], ["records", "verify"], ["prior"])


def test_help_takes_less_than_a_second_and_a_half_as_nothing_heavy_is_imported():
    code = (
        "import sys, time; from medleak.inversion.cli import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'monai', 'numpy', 'pandas', 'nvflare'} & set(sys.modules)\n"
        "print(sorted(heavy), time.process_time(), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    modules, seconds = done.stderr.rsplit(maxsplit=1)
    assert modules == "[]"
    assert float(seconds) < 1.5  # of CPU: the tests may share their machine
    assert "audit" in done.stdout


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_examples_and_json(command):
    result = medleak(*command, "--help")
    assert result.exit_code == 0
    assert "Example" in result.output
    assert f"medleak {' '.join(command)}" in result.output
    assert "--json" in result.output


def test_the_version_is_the_packages():
    from importlib.metadata import version

    result = medleak("--version")
    assert (result.exit_code, result.output.strip()) == (0, f"medleak {version('medleak')}")
