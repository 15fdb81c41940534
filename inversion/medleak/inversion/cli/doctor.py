"""``medleak doctor``: is protection in force at this site?"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medleak.inversion.cli.shared.errors import one_line_errors
from medleak.inversion.cli.shared.options import JsonOption
from medleak.inversion.cli.shared.output import printable

if TYPE_CHECKING:
    from medleak.filters.doctor import Check

_COLOURS = {"ok": "green", "warning": "yellow", "failed": "red", "not examined": "magenta"}


@one_line_errors
def doctor(
    ctx: typer.Context,
    kit: Annotated[Path, typer.Argument(metavar="KIT", help="The site's NVFlare startup kit.")],
    job: Annotated[
        Path | None, typer.Option(help="A job folder to check against the kit's policy.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Try a site's startup kit: made-up updates go through the filters that would run.

    Exit code 0: protected as declared. 1: a check failed, so updates or other data could leave
    unprotected, or none would leave at all. 3: something could not be read or tried, so that is
    not known.

    Examples: medleak doctor /opt/nvflare/site-1  ·  medleak doctor site-1 --job jobs/cxr_dp
    """
    from medleak.filters.doctor import examine, verdict

    checks = examine(kit, job)
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table("check", "state", "what was found")
        for check in checks:
            state = Text(check.status, style=_COLOURS[check.status])
            table.add_row(Text(printable(check.name)), state, Text(printable(check.detail)))
        Console().print(table)
        typer.echo(summary(checks))
    if code := verdict(checks):
        raise typer.Exit(code)


def summary(checks: "Sequence[Check]") -> str:
    """One line on what the checks amount to."""
    from medleak.filters.doctor import PROTECTED, UNPROTECTED, verdict

    count = {status: sum(c.status == status for c in checks) for status in _COLOURS}
    decide = f" {count['warning']} warnings are a person's to decide." if count["warning"] else ""
    if verdict(checks) == UNPROTECTED:
        return (
            f"{count['failed']} checks failed: do not join a federation before they are mended."
            f"{decide}"
        )
    if verdict(checks) != PROTECTED:
        return (
            f"{count['not examined']} things could not be examined: not known is not safe.{decide}"
        )
    return (
        "What the site's filters protect was tried and is protected as declared; what code that "
        f"a job brings does cannot be tried (docs/deploy.md).{decide}"
    )
