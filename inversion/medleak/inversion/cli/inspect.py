"""``medleak inspect``: what an update can tell, layer by layer, in seconds, without attacking."""

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated

import typer

from medleak.filters.imports import uncollected
from medleak.inversion.cli.shared.errors import NOT_KNOWN, fail, one_line_errors
from medleak.inversion.cli.shared.grouped import grouped
from medleak.inversion.cli.shared.options import (
    JsonOption,
    RunArgument,
    Statement,
    given_of,
    records_of,
)
from medleak.inversion.cli.shared.output import printable

if TYPE_CHECKING:
    from medleak.inversion.evidence.inspection import Inspection


@one_line_errors
@grouped
def inspect(
    ctx: typer.Context,
    run: RunArgument = None,
    *,
    site: Annotated[str | None, typer.Option(help="Whose update. Default: the first.")] = None,
    round: Annotated[int | None, typer.Option("--round", help="Default: the newest.")] = None,
    allow_model: Annotated[
        list[str] | None,
        typer.Option(metavar="PREFIX", help="Trust model factories of this package too."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Layers that tell nothing, too.")] = False,
    statement: Statement,
    as_json: JsonOption = False,
) -> None:
    """Tell what one update gives away: ranks, noise, what is exactly invertible. No attack is made.

    What the record does not say is said as to `medleak audit`. Exit code 3 where it is not known
    whether the update tells of pixels: that is no all-clear.

    Examples: medleak inspect  ·  medleak inspect RUN --site site-2 --round 3 --json
    · medleak inspect RUN --input 32x32x3 --schedule n_images=8,lr=0.01 --allow-model model.
    """
    with uncollected():
        from medleak.custom.record import list_updates
        from medleak.inversion.evidence.declared_input import disagreements
        from medleak.inversion.evidence.inspection import inspect_update
        from medleak.inversion.knowledge import Knowledge
        from medleak.inversion.networks import make_importable
        from medleak.inversion.observation import observe
        from medleak.inversion.statement import complete

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
    allowed = allow_model or []
    make_importable(root, allowed)
    given = given_of(statement)
    given.require_fitting(given.manifest(root), allowed)
    record = complete(given.record(root, *chosen))
    observation = observe(record, Knowledge(), allowed_prefixes=allowed)
    against = disagreements(record, observation)
    found = inspect_update(observation)
    if as_json:
        content = {"records": str(root), "round": chosen[0], "site": chosen[1]}
        content |= {"contradictions": against, **dataclasses.asdict(found)}
        typer.echo(json.dumps(content, indent=2))
    else:
        which = f"round {chosen[0]}, {printable(chosen[1])} (of {len(updates)} that match)"
        typer.echo(f"{root}: {which}")
        _print(found, every)
        for why in against:
            typer.echo(printable(f"The update contradicts what was said: {why}."))
    if found.verdict in ("features", "labels", "not known"):
        raise typer.Exit(NOT_KNOWN)


_WIDE = 110  # columns that a table of eight takes; narrower, it breaks words into pieces


def _print(found: "Inspection", every: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    table = Table("source", "layer", "rank", "places", "images", "noise", "exact", "tells")
    lines = []
    for told in found.told:
        if not (told.useful or every):
            continue
        rank = "" if told.rank is None else f"{told.rank} of {told.expected}"
        noise = "" if told.noise is None else f"{told.noise:.0e}"
        exact = {True: "yes", False: "no", None: "not known"}[told.exact]
        cells = (told.source, told.layer, rank, told.positions, told.images, noise, exact)
        shown = ["" if c is None else str(c) for c in cells]
        table.add_row(*map(Text, shown), Text(told.words))
        said = zip(("rank", "places", "images", "noise", "exact"), shown[2:], strict=True)
        figures = ", ".join(f"{name} {value}" for name, value in said if value)
        lines.append(f"- {told.source}, {told.layer}: {told.words} ({figures})")
    typer.echo(f"{found.images} image(s) in {found.steps} step(s)")
    if table.row_count and console.width >= _WIDE:
        console.print(table)
    else:
        typer.echo("\n".join(map(printable, lines)))
    for name, why in found.without:
        typer.echo(f"{name}: tells nothing here; {why}")
    typer.echo(found.words)
