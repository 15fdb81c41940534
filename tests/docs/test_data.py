"""Tests that docs/how-to/data.md says what the commands do."""

import re
import shlex
from typing import Any

import pytest
import typer
from tests.places import ROOT

from medleak.custom.datasets.catalogue import DATA_SETS, find
from medleak.custom.datasets.medmnist import SUBSETS
from medleak.custom.phantoms import MODALITIES
from medleak.custom.sites.split import parse_table
from medleak.inversion.cli import app

TEXT = (ROOT / "docs" / "how-to" / "data.md").read_text()
COMMANDS = sorted(
    {line.strip() for line in re.findall(r"^    (medleak .+)$", TEXT, re.MULTILINE)}
    | set(re.findall(r"`(medleak [^`]+)`", TEXT)) - {"medleak data"}
)


def parsed(line: str) -> tuple[str, dict[str, Any]]:
    """The command that ``line`` calls and its parameters; what it does not know is an error."""
    command: Any = typer.main.get_command(app)
    words = shlex.split(line)[1:]
    while hasattr(command, "commands"):
        assert words[0] in command.commands, line
        command, words = command.commands[words[0]], words[1:]
    return command.name, command.make_context("docs", words).params if words else {}


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_in_the_docs_exists_with_its_options(line):
    command, params = parsed(line)
    if params.get("table"):
        assert parse_table(params["table"])
    if command == "prepare":
        assert find(params["name"]).prior == (params["limit"] is not None)


def test_the_docs_show_every_data_command():
    group: Any = typer.main.get_command(app)
    for name in group.commands["data"].commands:
        assert any(line.startswith(f"medleak data {name}") for line in COMMANDS)


def test_the_table_has_every_set_with_its_number_of_images():
    for name, known in DATA_SETS.items():
        (row,) = re.findall(rf"^\| `{name}` .*$", TEXT, re.MULTILINE)
        assert f"{sum(known.counts.values()):,}" in row
    for name in (*SUBSETS, *(klass for m in MODALITIES.values() for klass in m.classes)):
        assert name in TEXT


def test_the_jobs_and_files_that_the_docs_name_exist():
    for job in re.findall(r"nvflare simulator (jobs/\w+)", TEXT):
        assert (ROOT / job).is_dir()
    for file in re.findall(r"`((?:custom|tests)/[\w/]+\.py)`", TEXT):
        assert (ROOT / file).is_file()
    assert (ROOT / "docs" / "images" / "phantoms.png").is_file()
