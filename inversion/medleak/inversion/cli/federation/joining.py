"""``medleak records join``: one record of the several that a swarm leaves."""

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer

from medleak.inversion.cli.shared.errors import NOT_KNOWN, one_line_errors
from medleak.inversion.cli.shared.options import JsonOption
from medleak.inversion.cli.shared.output import printable


@one_line_errors
def join_records(
    ctx: typer.Context,
    runs: Annotated[
        list[Path],
        typer.Argument(help="Records, or folders that hold some, such as a simulator workspace."),
    ],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The new record.")],
    as_json: JsonOption = False,
) -> None:
    """Make one record of several of one run: of a swarm, whose rounds lie where each aggregated.

    Every file is checked; the old records stay as they are. Records of other jobs, and two updates
    of one site in one round, are refused. What is no update in them is named, and the exit code 3.

    Examples: medleak records join simulator_workspace -o joined
    · medleak records join hospital-a/records hospital-b/records -o joined
    """
    from medleak.custom.record import RecordError, all_records
    from medleak.custom.record.keeping.joining import join_records as join

    roots = []
    for run in runs:
        if not (found := all_records(run)):
            raise RecordError(f"No record in {run}: there is nothing to join. Name a run.")
        roots += found
    done = join(roots, out)
    if as_json:
        updates = [{"records": str(root), "updates": n} for root, n in done.updates.items()]
        content = {"records": str(out), "joined": updates, "not_joined": list(done.not_joined)}
        typer.echo(json.dumps(content, indent=2))
    else:
        for root, n in done.updates.items():
            typer.echo(f"{root}: {n} updates")
        then = f"{_path(roots)}medleak audit {shlex.quote(str(out))}"
        typer.echo(f"{out}: {sum(done.updates.values())} updates. Next: {then}")
    for place in done.not_joined:
        typer.echo(printable(f"medleak: {place}: it is no update, and was not joined."), err=True)
    if done.not_joined:
        raise typer.Exit(NOT_KNOWN)


def _path(roots: list[Path]) -> str:
    """How the job's own network is found, whose code lies beside the old records and not the new.

    Nothing of it is imported but what ``--allow-model`` names.
    """
    found = sorted(folder for root in roots for folder in root.parent.glob("app_*/custom"))
    own = [folder for folder in found if any(folder.glob("*.py"))]
    return f"PYTHONPATH={shlex.quote(str(own[0]))} " if own else ""
