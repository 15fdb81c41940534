"""Tests that the programs of docs/how-to/library.md run, and say what the page says."""

import re

import pytest
from tests.places import ROOT

PAGE = (ROOT / "docs" / "how-to" / "library.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_audit_of_the_page_is_thirty_lines_at_most():
    assert len(PROGRAMS) == 3
    assert all(len(program.splitlines()) <= 30 for program in PROGRAMS)


@pytest.mark.parametrize("program", PROGRAMS, ids=["model", "loop", "audit"])
def test_a_program_of_the_page_runs(program, make_run, tmp_path, monkeypatch, capsys):
    make_run({"site-9": 1})
    monkeypatch.chdir(tmp_path)
    exec(compile(program, "library.md", "exec"), {"__name__": "page"})
    printed = capsys.readouterr().out
    assert printed.startswith("tensor([1])" if "reconstruct" in program else "site-9")
