"""Tests of the documents as a whole: their links, their width, and what code cites."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from tests.places import ROOT

from medleak.custom.record import read_record, verify
from medleak.inversion.cli import app

PROSE, ROW = 120, 200  # characters of a line, and of a row of a table


def tracked(*patterns: str) -> list[Path]:
    """Files under version control (all that are not ignored, in a tree without git)."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        return sorted({p for pattern in patterns for p in ROOT.rglob(pattern.removeprefix("**/"))})
    return [p for p in (ROOT / line for line in done.stdout.splitlines()) if p.exists()]


PAGES = tracked("*.md")


def outside_code(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers that stand in no code block, fenced or indented."""
    fence, code, blank = "", False, True
    for number, line in enumerate(text.splitlines(), 1):
        mark = re.match(r"\s*(`{3,}|~{3,})", line)
        if mark and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
        elif not fence:
            code = line.startswith("    ") and (code or blank)
            if not code:
                yield number, line
        blank = not line.strip()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_line_of_prose_and_no_row_of_a_table_is_too_wide(page):
    wide = [
        f"line {number} has {len(line)} characters"
        for number, line in outside_code(page.read_text(encoding="utf-8"))
        if len(line) > (ROW if line.lstrip().startswith("|") else PROSE)
    ]
    assert not wide


def anchors(page: Path) -> set[str]:
    """What its headings are linked by, as GitHub and MyST make it."""
    text = page.read_text(encoding="utf-8")
    titles = [m[1] for _, line in outside_code(text) if (m := re.match(r"#+\s+(.*)", line))]
    return {re.sub(r"[^\w\- ]", "", t.lower()).strip().replace(" ", "-") for t in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_relative_link_and_picture_leads_somewhere(page):
    text = "\n".join(line for _, line in outside_code(page.read_text(encoding="utf-8")))
    text = re.sub(r"`[^`]*`", "", text)
    broken = []
    for link in re.findall(r"\]\(\s*<?([^)\s>]+)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


def test_every_page_of_the_documentation_is_in_a_table_of_contents():
    docs = ROOT / "docs"
    listed = {docs / "index.md"}
    for page in docs.rglob("*.md"):
        for tree in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
            names = [x for x in tree.split() if x != ":hidden:"]
            listed |= {(page.parent / f"{name}.md").resolve() for name in names}
    pages = {p for p in PAGES if p.is_relative_to(docs)}
    assert pages == {p for p in listed if p.is_relative_to(docs)}


def test_code_cites_files_of_the_repository_only():
    cited = re.compile(
        r"(?<![\w/.])((?:docs|notes|prototype|shared)/[\w\-./]*\.\w+|[\w\-]*design\.md)"
    )
    missing = []
    for file in tracked("*.py", "*.toml", "Makefile"):
        if file == Path(__file__):
            continue
        for name in cited.findall(file.read_text(encoding="utf-8")):
            if not (ROOT / name).exists() and not name.startswith("docs/_build"):
                missing.append(f"{file.relative_to(ROOT)}: {name}")
    assert not missing


def commands(page: Path) -> Iterator[str]:
    """Calls of `medleak` in code blocks, whole; those with an ellipsis are no commands."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in re.findall(r"^ {4,}(medleak [a-z].*)$", text, re.MULTILINE):
        for call in re.split(r"&&|  +#", line):
            if call.strip().startswith("medleak ") and not re.search(r"…|\.\.\.", call):
                yield call.strip()


CALLS = sorted({call for page in PAGES for call in commands(page)})


def test_the_documents_show_commands():
    assert len(CALLS) >= 40


@pytest.mark.parametrize("call", CALLS)
def test_every_command_in_the_documents_exists_with_its_options(call, tmp_path, monkeypatch):
    for name in ("RUN", "audits/cxr", "AUDIT", "workspace", "site-1", "a_job", "before", "after"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    command: Any = typer.main.get_command(app)
    _, *words = shlex.split(call, comments=True)
    while hasattr(command, "commands"):
        if words[0] in ("-h", "--help", "--version"):
            return
        command, words = command.commands[words[0]], words[1:]
    command.make_context("docs", words)
    with pytest.raises(Exception, match="No such option"):
        command.make_context("docs", [*words, "--no-such-option"])


def test_the_example_of_a_record_writes_one(tmp_path):
    text = (ROOT / "docs" / "reference" / "record.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    state = {"weight": np.zeros(3, np.float32)}
    exec(example, {"root": tmp_path, "global_state": state, "update": state})
    assert read_record(tmp_path, 0, "hospital-a").info.n_images == 1
    assert not any(problem for _, _, problem in verify(tmp_path))
