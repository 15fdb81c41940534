"""``medleak ledger``: ε spent per site and round, from the sites' own ledgers."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medleak.inversion.cli.shared.errors import FAILED, one_line_errors
from medleak.inversion.cli.shared.options import JsonOption
from medleak.inversion.cli.shared.output import printable

if TYPE_CHECKING:
    from medleak.filters.privacy.ledger import Verified

_PLACES = ("workspace", "simulator_workspace")


@one_line_errors
def ledger(
    ctx: typer.Context,
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN",
            show_default=False,
            help="A ledger, a site's folder, or a simulator workspace; "
            "default: all ledgers under workspace/ and simulator_workspace/.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Verify privacy ledgers and print what they say: ε at δ, or "none" for heuristics.

    Exit code 1 if a ledger was changed or damaged.

    Examples: medleak ledger  ·  medleak ledger simulator_workspace --json
    """
    from medleak.filters.privacy import ledger as ledgers

    found = [p for place in _places(run) for p in ledgers.find(place)]
    if not found:
        raise ValueError(
            f"No privacy ledger under {' or '.join(map(str, _places(run)))}: no site with the "
            "filter PrivacyLedger released anything there. Name a site's folder, or add the filter."
        )
    bad, content = [], []
    for path in found:
        try:
            content.append(_content(path, ledgers.read(path)))
        except ledgers.LedgerError as error:
            bad.append({"ledger": str(path), "error": " ".join(str(error).split())})
    if as_json:
        typer.echo(json.dumps({"ledgers": content, "refused": bad}, indent=2))
    else:
        for one in content:
            _print(one)
    for one in bad:
        typer.echo(f"medleak: {one['ledger']}: {one['error']}", err=True)
    if bad:
        raise typer.Exit(FAILED)


def _places(run: Path | None) -> list[Path]:
    if run is None:
        return [Path(place) for place in _PLACES if Path(place).is_dir()]
    if not run.exists():
        raise ValueError(f"RUN {str(run)!r} does not exist: there is no ledger to read.")
    return [run]


def _content(path: Path, verified: "Verified") -> dict[str, Any]:
    from medleak.filters.privacy.ledger import balances

    return {
        "ledger": str(path),
        "head": verified.head,
        "torn": verified.torn,
        "entries": [asdict(entry) for entry in verified.entries],
        "spent": [asdict(balance) for balance in balances(verified.entries)],
    }


def _print(content: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from medleak.filters.registry import declared_text

    table = Table("site", "job", "round", "defences", "ε so far", "δ", "unit (relation)")
    for entry in content["entries"]:
        spend = entry["spend"]
        defences = declared_text(spend["defences"]) or "none"
        where = (spend["site"], spend["job"], spend["round"], defences)
        guarantees = list(zip(spend["guarantees"], entry["epsilons"], strict=True))
        for guarantee, epsilon in guarantees or [(None, None)]:
            shown = "none (heuristic)" if epsilon is None else f"{epsilon:.4g}"
            unit = f"{guarantee['unit']} ({guarantee['relation']})" if guarantee else "-"
            cells = (*where, shown, f"{spend['delta']:g}" if guarantee else "-", unit)
            table.add_row(*(Text(printable(str(cell))) for cell in cells))
    typer.echo(
        f"{content['ledger']}: chain intact, {len(content['entries'])} releases, "
        f"head {content['head'][:16]}…"
        + ("; a torn last line: a crash while writing, its update was never sent" * content["torn"])
    )
    Console().print(table)
    totals = [
        f"ε = {b['epsilon']:.4g} at δ = {b['delta']:g} for a {b['unit']} ({b['relation']})"
        if b["epsilon"] is not None
        else f"ε: none for a {b['unit']}: a release has no such guarantee"
        for b in content["spent"]
    ]
    typer.echo("Spent in all: " + ("; ".join(totals) or "ε: none (heuristic)"))
