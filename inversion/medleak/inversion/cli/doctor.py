"""``medleak doctor``: is protection in force at this site?"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from medleak.inversion.cli.shared.errors import FAILED, one_line_errors
from medleak.inversion.cli.shared.options import JsonOption
from medleak.inversion.cli.shared.output import printable

_COLOURS = {"ok": "green", "warning": "yellow", "failed": "red"}


@one_line_errors
def doctor(
    ctx: typer.Context,
    kit: Annotated[Path, typer.Argument(metavar="KIT", help="The site's NVFlare startup kit.")],
    job: Annotated[
        Path | None, typer.Option(help="A job folder to check against the kit's policy.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a site's startup kit: filter importable, policy active, entropy, ledger, site rules.

    Exit code 1 if a check failed: updates could leave unprotected, or none would leave at all.

    Examples: medleak doctor /opt/nvflare/site-1  ·  medleak doctor site-1 --job jobs/cxr_dp
    """
    from medleak.filters.doctor import examine, healthy

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
        failed = sum(check.status == "failed" for check in checks)
        typer.echo(
            "Protection is in force, as far as a check of files can see: docs/deploy.md."
            if not failed
            else f"{failed} checks failed: do not join a federation before they are mended."
        )
    if not healthy(checks):
        raise typer.Exit(FAILED)
