"""The commands of medleak data, and what they print."""

import json

from typer.testing import CliRunner

from medleak.inversion.cli import app

TABLE = "a:2:4:4,b:1:1:4:a"


def medleak(*args):
    return CliRunner().invoke(app, ["data", *map(str, args)], env={"COLUMNS": "200"})


def printed(*args):
    """The JSON that a command prints, alone on standard output."""
    result = medleak(*args, "--json")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return json.loads(result.stdout)


def refused(*args):
    """The one line of an error."""
    result = medleak(*args)
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("medleak: ")
    return line
