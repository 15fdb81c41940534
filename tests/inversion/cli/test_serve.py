"""Tests of medleak serve."""

import os
import subprocess
import sys

import pytest
from tests.inversion.report.directories import grid
from typer.testing import CliRunner

from medleak.inversion.cli.app import app

pytestmark = pytest.mark.slow


def medleak(*args, answer=None):
    arguments = [str(a) for a in args]
    return CliRunner().invoke(app, arguments, input=answer, env={"COLUMNS": "200"})


@pytest.fixture
def audit(directory):
    return directory.write(grid(["site-1"], rounds=1))


def test_serve_refuses_a_folder_without_audits(tmp_path):
    result = medleak("serve", tmp_path)
    assert result.exit_code == 2
    assert "No audit at or below" in result.stderr


def test_serve_prints_an_address_of_this_machine_with_a_long_token(audit):
    command = [sys.executable, "-c", "from medleak.inversion.cli import main; main()", "serve"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        [*command, str(audit)], stdout=subprocess.PIPE, text=True, env=environment
    ) as running:
        assert running.stdout is not None
        line = running.stdout.readline()
        running.terminate()
        running.wait(timeout=20)
    assert line.startswith("1 audits at http://127.0.0.1:")
    assert len(line.split("/")[3]) >= 40
