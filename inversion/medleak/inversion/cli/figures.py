"""``medleak figures``: charts, picture grids and the table of an audit."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from medleak.inversion.cli.shared.errors import FAILED, MISUSED, one_line_errors
from medleak.inversion.cli.shared.options import JsonOption

# The same as `figures.style.Format`: to import that would take matplotlib a second.
Format = Literal["png", "svg", "pdf"]

if TYPE_CHECKING:
    from medleak.inversion.figures import Drawn


@one_line_errors
def figures(
    ctx: typer.Context,
    audit: Annotated[
        Path, typer.Argument(metavar="AUDIT", help="Directory that medleak audit wrote.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where to write. Default: AUDIT/figures.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="rounds, attacks, schedule, ssim, rdlv, embeddings, iip, iterations, noise, "
            "front, roc or table; may be repeated. Default: all that the audit has data for."
        ),
    ] = None,
    format: Annotated[Format, typer.Option(help="Of the files.")] = "png",
    run: Annotated[
        Path | None,
        typer.Option(help="The audit's run: how sites trained, for the figure schedule."),
    ] = None,
    embedding: Annotated[
        str | None,
        typer.Option(
            help="ResNet-18 for the figure embeddings: a file of weights, or imagenet (default) "
            "where torch's cache has it."
        ),
    ] = None,
    attack: Annotated[
        str | None, typer.Option(help="As in results.csv. Default: the strongest.")
    ] = None,
    knowledge: Annotated[
        str | None, typer.Option(help="As in results.csv. Default: the attacker who got most.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Draw what an audit measured, and write its table of sites and defences.

    A figure without data says what is missing and how to make it; the others are still made. Exit
    code 2 where nothing could be made, or not what --only asks for.

    Examples: medleak figures workspace/audit-cxr
    · medleak figures AUDIT --only rdlv --format svg
    · medleak figures AUDIT --run simulator_workspace
    """
    from medleak.inversion.figures import FIGURES, AuditData, Drawn, draw_all, table
    from medleak.inversion.measures.embedding import load_embedding

    names = list(dict.fromkeys(only or [*FIGURES, "table"]))
    if unknown := [n for n in names if n not in FIGURES and n != "table"]:
        raise ValueError(
            f"--only {unknown[0]} is no figure: nothing can be drawn. Choose among "
            f"{', '.join([*FIGURES, 'table'])}."
        )
    data = AuditData.open(audit, run).of(attack, knowledge)
    target = out or audit / "figures"
    # `table` alone must not mean "all", as no names do.
    charts = [n for n in names if n in FIGURES]
    embed = load_embedding(embedding) if embedding is not None else None
    drawn = list(draw_all(data, target, charts, format, embed)) if charts else []
    if "table" in names and not data.rows:
        drawn.append(Drawn("table", None, f"{str(audit)!r} has no attacked update to list."))
    elif "table" in names:
        drawn += [Drawn("table", path) for path in table(data, target)]
    _report(drawn, as_json)
    missing = [d for d in drawn if d.path is None]
    if missing and (only or len(missing) == len(drawn)):
        raise typer.Exit(MISUSED if only else FAILED)


def _report(drawn: "list[Drawn]", as_json: bool) -> None:
    if as_json:
        content = [
            {"name": d.name, "path": d.path and str(d.path), "missing": d.missing} for d in drawn
        ]
        typer.echo(json.dumps(content, indent=2))
    for one in drawn:
        if one.path is None:
            typer.echo(f"medleak: no figure {one.name}: {one.missing}", err=True)
        elif not as_json:
            typer.echo(str(one.path))
