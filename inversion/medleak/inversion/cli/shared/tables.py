"""Attacks and defences in the help of the commands that take them, a line each from their rows."""

from typing import Any

import typer
from typer.core import TyperCommand

_AVERAGES = "; can join rounds (--average)"


class WithTables(TyperCommand):
    """A command whose help ends with the tables; they are read only when it is asked for."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help, then the tables."""
        super().format_help(ctx, formatter)
        from medleak.filters.registry import ROWS as DEFENCES
        from medleak.inversion.attacks.registry import ROWS as ATTACKS
        from medleak.inversion.results.replays import ROWS as REPLAYS

        _print(
            "Attacks: --attack NAME or NAME:key=value,…",
            [(a.name, a.words + _AVERAGES * a.averages) for a in ATTACKS],
        )
        _print(
            "Defences: --defence NAME or NAME:key=value,…, joined by +",
            [
                (d.name, f"{d.words} ({d.example})" if d.example else d.words)
                for d in (*DEFENCES, *REPLAYS)
            ],
        )


def _print(title: str, lines: list[tuple[str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=None, show_header=False, padding=(0, 1))
    for name, words in lines:
        table.add_row(Text(name, style="bold cyan"), Text(words))
    Console().print(table)
    typer.echo()
