"""Tests of docs/how-to/audit.md and calibrate.md: their commands are ones that exist."""

import importlib
import re
import shlex
from typing import Any

import pytest
import typer
from tests.places import ROOT

from medleak.inversion.calibration.search import mechanism
from medleak.inversion.cli import app
from medleak.inversion.figures import FIGURES

PAGES = [ROOT / "docs" / "how-to" / name for name in ("audit.md", "calibrate.md")]
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
COMMANDS = re.findall(r"^    (medleak .*)$", TEXT, re.MULTILINE)


def test_the_page_shows_commands():
    assert len(COMMANDS) >= 10
    assert {c.split()[1] for c in COMMANDS} >= {"audit", "calibrate", "figures", "report"}


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_page_parses(line, tmp_path, monkeypatch):
    for name in ("RUN", "audits/cxr"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    _, name, *arguments = shlex.split(line)
    group = typer.main.get_command(app)
    commands: dict[str, Any] = group.commands  # pyright: ignore[reportAttributeAccessIssue]
    command = commands.get(name)
    assert command is not None, name
    parsed = command.make_context(name, arguments).params
    if name == "calibrate":
        given = {k: parsed[k] for k in ("low", "high", "parameter")}
        assert mechanism(parsed["defence"], **given)


def test_the_page_of_figures_has_a_row_for_each_of_them():
    page = (ROOT / "docs" / "how-to" / "figures.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert rows == [*FIGURES, "table"]


def test_its_jobs_commands_parse(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "jobs")  # as for a script
    job = importlib.import_module("job")
    lines = re.findall(r"^    python jobs/job\.py (.*)$", TEXT, re.MULTILINE)
    assert len(lines) == 2
    for line in lines:
        args = job.parser().parse_args(shlex.split(line))
        assert job.configured(job.JOBS[args.name], args).name == args.name


def test_its_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (ROOT / "docs" / "how-to" / target).exists(), target
