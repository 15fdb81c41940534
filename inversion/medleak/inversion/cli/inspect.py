"""``medleak inspect``: what an update can tell, layer by layer, in seconds, without attacking."""

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated

import typer

from medleak.filters.imports import uncollected
from medleak.inversion.cli.shared.errors import NOT_KNOWN, fail, one_line_errors
from medleak.inversion.cli.shared.options import JsonOption, RunArgument, records_of
from medleak.inversion.cli.shared.output import printable

if TYPE_CHECKING:
    from medleak.inversion.evidence.inspection import Inspection


@one_line_errors
def inspect(
    ctx: typer.Context,
    run: RunArgument = None,
    site: Annotated[str | None, typer.Option(help="Whose update. Default: the first.")] = None,
    round: Annotated[int | None, typer.Option("--round", help="Default: the newest.")] = None,
    allow_model: Annotated[
        list[str] | None,
        typer.Option(metavar="PREFIX", help="Trust model factories of this package too."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Layers that tell nothing, too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Tell what one update gives away: ranks, noise, what is exactly invertible. No attack is made.

    Exit code 3 where it is not known whether the update tells of pixels: that is no all-clear.

    Examples: medleak inspect  ·  medleak inspect RUN --site site-2 --round 3 --json
    """
    with uncollected():
        from medleak.custom.record import list_updates, read_record
        from medleak.inversion.evidence.inspection import inspect_update
        from medleak.inversion.knowledge import Knowledge
        from medleak.inversion.observation import observe

    root = records_of(run)
    updates = [
        (r, s)
        for r, s in list_updates(root)
        if (site is None or s == site) and (round is None or r == round)
    ]
    if not updates:
        fail(
            f"{root} holds no update of round {'any' if round is None else round}, site "
            f"{site or 'any'}: nothing was inspected. List them: medleak records ls",
            NOT_KNOWN,
        )
    newest = max(r for r, _ in updates)
    chosen = next((r, s) for r, s in updates if r == newest)
    observation = observe(
        read_record(root, *chosen), Knowledge(), allowed_prefixes=allow_model or ()
    )
    found = inspect_update(observation)
    if as_json:
        content = {"records": str(root), "round": chosen[0], "site": chosen[1]}
        typer.echo(json.dumps({**content, **dataclasses.asdict(found)}, indent=2))
    else:
        which = f"round {chosen[0]}, {printable(chosen[1])}; {len(updates)} updates match"
        typer.echo(f"{root}: {which}")
        _print(found, every)
    if found.verdict in ("labels", "not known"):
        raise typer.Exit(NOT_KNOWN)


def _print(found: "Inspection", every: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("source", "layer", "rank", "places", "images", "noise", "exact", "tells")
    for told in found.told:
        if not (told.useful or every):
            continue
        rank = "" if told.rank is None else f"{told.rank} of {told.expected}"
        noise = "" if told.noise is None else f"{told.noise:.0e}"
        exact = {True: "yes", False: "no", None: "not known"}[told.exact]
        cells = (told.source, told.layer, rank, told.positions, told.images, noise, exact)
        shown = ("" if c is None else str(c) for c in cells)
        table.add_row(*map(Text, shown), Text(told.words))
    typer.echo(f"{found.images} image(s) in {found.steps} step(s)")
    if table.row_count:
        Console().print(table)
    for name, why in found.without:
        typer.echo(f"{name}: tells nothing here; {why}")
    typer.echo(found.words)
