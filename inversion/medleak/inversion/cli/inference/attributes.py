"""``medleak attributes``: whose is an update, and what does it tell of the site's patients?"""

import json
import math
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from medleak.filters.imports import uncollected
from medleak.inversion.cli.shared.errors import NOT_KNOWN, fail, one_line_errors
from medleak.inversion.cli.shared.options import JsonOption, RunArgument, records_of
from medleak.inversion.cli.shared.output import printable


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
    shares: Annotated[
        Path | None,
        typer.Option(
            help="JSON of further attributes: name to site to share of its patients, such as "
            '{"women": {"site-1": 0.4, "site-2": 0.6}}.'
        ),
    ] = None,
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

    given = _shares(shares)
    found = ask(records_of(run), rounds=round, sites=site, truth=truth, shares=given, k=k)
    if as_json:
        content = {
            "rule": RULE,
            "told": [{"kind": t.kind, "verdict": str(t), **asdict(t)} for t in found.told],
            "not_tested": found.not_tested,
        }
        typer.echo(json.dumps(content, indent=2))
    else:
        for told in found.told:
            typer.echo(printable(str(told)))
    for why in found.not_tested:
        typer.echo(f"medleak: not tested: {printable(why)}", err=True)
    if found.not_tested or any(t.kind == "not known" for t in found.told):
        fail("Not everything is known; see above.", NOT_KNOWN)


def _shares(path: Path | None) -> dict[str, dict[str, float]]:
    if path is None:
        return {}
    content: Any = None
    with suppress(ValueError):  # what is no JSON holds no shares either
        content = json.loads(path.read_bytes())
    sound = isinstance(content, dict) and all(
        isinstance(of, dict) and all(_is_share(v) for v in of.values()) for of in content.values()
    )
    if not sound:
        raise ValueError(
            f"{path} holds no shares: give names of attributes, each with sites and numbers from "
            '0 to 1, as {"women": {"site-1": 0.4}}.'
        )
    return content


def _is_share(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and 0 <= value <= 1
