"""The comparison that a reproduction ends in: each published number beside the one found here."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medleak.custom.atomic import write_atomic


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperEntry:
    """One figure or table of a paper.

    Attributes:
        number: As the paper counts it.
        shows: What it is about.
        published: What the paper states.
        here: What was measured; empty where nothing could be.
        why: Why not, and what would make it; or what differs.
        pictures: Files relative to the report.
    """

    number: str
    shows: str
    published: str
    here: str = ""
    why: str = ""
    pictures: Sequence[str] = ()


def write_report(path: Path, title: str, setting: str, entries: Sequence[PaperEntry]) -> None:
    """Write the markdown file ``path``, whole or not at all.

    Raises:
        OSError: The disk refuses it.
    """
    parts = [f"# {title}", "", setting, ""]
    for entry in entries:
        parts += [f"## {entry.number}: {entry.shows}", "", f"Published: {entry.published}", ""]
        parts += [f"Here: {entry.here or 'not measured.'}", ""]
        if entry.why:
            parts += [entry.why, ""]
        parts += [f"![{entry.number}: {entry.shows}]({at})\n" for at in entry.pictures]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, ("\n".join(parts).rstrip() + "\n").encode())


def grid(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table, set off by blank lines; a bar in a cell, even of code, would end it."""
    lines = [header, ["---"] * len(header), *rows]
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in escaped)
