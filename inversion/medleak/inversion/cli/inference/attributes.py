"""``medleak attributes``: whose is an update, and what does it tell of the site's patients?"""

import json
from pathlib import Path
from typing import Annotated

import typer

from medleak.filters.imports import uncollected
from medleak.inversion.cli.shared.errors import NOT_KNOWN, fail, one_line_errors
from medleak.inversion.cli.shared.options import JsonOption, RunArgument, records_of
from medleak.inversion.cli.shared.output import printable
from medleak.inversion.cli.shared.shares import SharesOption, read_shares


@one_line_errors
def attributes(
    ctx: typer.Context,
    run: RunArgument = None,
    *,
    truth: Annotated[
        Path | None,
        typer.Option(
            help="A folder with <site>.json: what classes each site has. Default: what a "
            "simulated site left in its run directory."
        ),
    ] = None,
    shares: SharesOption = None,
    site: Annotated[
        list[str] | None, typer.Option(help="Site to compare; may be repeated. Default: all.")
    ] = None,
    round: Annotated[
        list[int] | None, typer.Option(help="Round; may be repeated. Default: all.")
    ] = None,
    k: Annotated[int, typer.Option("--k", min=1, help="Neighbours that say whose it is.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Say whether updates tell whose they are, and what the sites' patients are like.

    An update without a name is given to the site whose updates of other rounds are nearest. Sites
    that differ in an attribute (their classes, or shares that are given) are compared with how
    their updates differ. Both stand beside what chance would give: sites dealt out anew.

    Exit code 3 if nothing, or not everything, could be tested: one round, few sites, no lists.

    Examples: medleak attributes RUN --truth lists
    · medleak attributes RUN --shares women.json --json
    """
    with uncollected():
        from medleak.inversion.linkage.findings import RULE
        from medleak.inversion.linkage.run import ask

    given = read_shares(shares)
    found = ask(records_of(run), rounds=round, sites=site, truth=truth, shares=given, k=k)
    if as_json:
        content = {
            "rule": RULE,
            "told": [t.as_json() for t in found.told],
            "not_tested": [str(n) for n in found.not_tested],
        }
        typer.echo(json.dumps(content, indent=2))
    else:
        for told in found.told:
            typer.echo(printable(str(told)))
    for why in found.not_tested:
        typer.echo(f"medleak: not tested: {printable(str(why))}", err=True)
    if found.not_tested or any(t.kind == "not known" for t in found.told):
        fail("Not everything is known; see above.", NOT_KNOWN)
