"""``medleak sentinel``: is a model that a server sent, or that a run recorded, a trap?"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medleak.inversion.cli.shared.errors import FAILED, NOT_KNOWN, fail, one_line_errors
from medleak.inversion.cli.shared.options import JsonOption, records_of
from medleak.inversion.cli.shared.output import printable

if TYPE_CHECKING:
    from medleak.inversion.audit.beside.sentinel import Seen


@one_line_errors
def sentinel(
    ctx: typer.Context,
    model: Annotated[
        Path | None,
        typer.Argument(
            metavar="CHECKPOINT|RUN",
            show_default=False,
            help="A file of weights, or a run whose recorded global models are looked at; default: "
            "the newest run.",
        ),
    ] = None,
    site: Annotated[
        str | None, typer.Option(help="Of a run: whose updates explain the steps. Default: all.")
    ] = None,
    approved: Annotated[
        str | None, typer.Option(metavar="HASH", help="The network's hash that a site approved.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Look for what a trap has and honest training has not, as a site's Sentinel filter does.

    Prints the network's hash, for a site to approve. Exit code 1: something is odd. 3: nothing is,
    but not every check could judge: a checkpoint alone has no earlier round to be compared with.
    What no check can see is in docs/threat-model.md.

    Examples: medleak sentinel global.safetensors  ·  medleak sentinel RUN --site site-2 --json
    """
    if model is not None and model.is_file():
        if site is not None:
            raise ValueError(
                f"--site is of a run, and {printable(str(model))!r} is a file of weights, which no "
                "update explains: leave it out, or name the run."
            )
        seen = [_checkpoint(model, approved)]
    else:
        seen = list(_run(records_of(model), site, approved))
    if as_json:
        typer.echo(json.dumps([_row(s) for s in seen], indent=2))
    else:
        _print(seen)
    if any(s.found.odd for s in seen):
        raise typer.Exit(FAILED)
    if not _all_examined(seen):
        raise typer.Exit(NOT_KNOWN)


def _checkpoint(path: Path, approved: str | None) -> "Seen":
    from medleak.custom.networks.weights import read_state, unwrapped
    from medleak.custom.record.tensors import as_arrays
    from medleak.filters.sentinel.examination import examine
    from medleak.filters.sentinel.memory import Memory
    from medleak.inversion.audit.beside.sentinel import Seen

    state = as_arrays(str(path), unwrapped(read_state(path)))
    return Seen(found=examine(state, Memory(), approved=approved))


def _run(root: Path, site: str | None, approved: str | None) -> "Iterator[Seen]":
    from medleak.custom.record import list_updates
    from medleak.inversion.audit.beside.sentinel import models_of

    updates = [(r, s) for r, s in list_updates(root) if site is None or s == site]
    if not updates:
        fail(f"{root} holds no update of {site or 'any site'}: nothing was examined.", NOT_KNOWN)
    for who in dict.fromkeys(s for _, s in updates):
        yield from models_of(root, who, [r for r, s in updates if s == who], approved)


def _all_examined(seen: "list[Seen]") -> bool:
    from medleak.inversion.audit.beside.sentinel import all_examined

    return all_examined(seen)


def _row(seen: "Seen") -> dict[str, Any]:
    return {
        "round": seen.round,
        "site": seen.site,
        "sha256": seen.found.profile.sha256,
        "network": seen.network,
        "odd": bool(seen.found.odd),
        "line": seen.found.line,
        "checks": [asdict(r) for r in seen.found.results],
    }


def _print(seen: "list[Seen]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("round", "site", "check", "state", "what was found")
    for each in seen:
        where = ("" if each.round is None else str(each.round), printable(each.site or ""))
        told = each.found.odd if len(seen) > 1 else each.found.results
        for r in told:
            table.add_row(*map(Text, (*where, r.check, r.status, printable(r.words))))
        if len(seen) > 1 and not told:
            table.add_row(*map(Text, (*where, "", "", printable(each.found.line))))
    Console().print(table)
    for network in dict.fromkeys(s.network for s in seen):
        typer.echo(f"network: {network}")
    odd = sum(bool(s.found.odd) for s in seen)
    if odd:
        typer.echo(f"{odd} of {len(seen)} models look like traps: do not train them.")
    elif _all_examined(seen):
        typer.echo(f"{len(seen)} models: nothing odd. A trap that no check sees is possible.")
    else:
        typer.echo("Nothing odd, but not everything could be examined: that is no all-clear.")
