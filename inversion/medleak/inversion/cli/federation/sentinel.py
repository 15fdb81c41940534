"""``medleak sentinel``: is a model that a server sent, or that a run recorded, a trap?"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medleak.inversion.cli.shared.errors import FAILED, NOT_KNOWN, fail, one_line_errors
from medleak.inversion.cli.shared.options import JsonOption, records_of
from medleak.inversion.cli.shared.output import printable

if TYPE_CHECKING:
    from medleak.filters.sentinel.examination import Examined


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One model of a run as one site was sent it; a checkpoint has neither round nor site."""

    found: "Examined"
    network: str
    round: int | None = None
    site: str | None = None


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


def _checkpoint(path: Path, approved: str | None) -> Seen:
    from medleak.custom.networks.weights import read_state, unwrapped
    from medleak.custom.record.tensors import as_arrays
    from medleak.filters.sentinel.checks.structure import fingerprint
    from medleak.filters.sentinel.examination import examine
    from medleak.filters.sentinel.memory import Memory

    found = examine(as_arrays(str(path), unwrapped(read_state(path))), Memory(), approved=approved)
    return Seen(found=found, network=fingerprint(found.profile.structure))


def _run(root: Path, site: str | None, approved: str | None) -> Iterator[Seen]:
    from medleak.custom.record import list_updates, read_record
    from medleak.filters.sentinel.checks.structure import fingerprint
    from medleak.filters.sentinel.examination import examine, noted
    from medleak.filters.sentinel.memory import Memory

    updates = [(r, s) for r, s in list_updates(root) if site is None or s == site]
    if not updates:
        fail(f"{root} holds no update of {site or 'any site'}: nothing was examined.", NOT_KNOWN)
    for who in dict.fromkeys(s for _, s in updates):
        memory, last = Memory(), None
        for round in sorted(r for r, s in updates if s == who):
            record = read_record(root, round, who)
            state = dict(record.global_state)
            same = last is not None and set(last) == set(state)
            found = examine(
                state,
                memory,
                last.__getitem__ if last is not None and same else None,
                round=round,
                approved=approved,
            )
            yield Seen(
                found=found, network=fingerprint(found.profile.structure), round=round, site=who
            )
            if not found.odd:
                memory, last = memory.with_model(found.profile, round), state
                memory = noted(memory, state, dict(record.update))


def _all_examined(seen: list[Seen]) -> bool:
    """Whether every check judged each model, but for a run's first, which has none before it."""
    first = {s.site: s.round for s in reversed(seen)}
    later = [s for s in seen if s.round is not None and s.round != first[s.site]]
    return (
        len(later) == len(seen) - len(first)
        and bool(later)
        and not any(r.status == "not examined" for s in later for r in s.found.results)
    )


def _row(seen: Seen) -> dict[str, Any]:
    return {
        "round": seen.round,
        "site": seen.site,
        "sha256": seen.found.profile.sha256,
        "network": seen.network,
        "odd": bool(seen.found.odd),
        "line": seen.found.line,
        "checks": [asdict(r) for r in seen.found.results],
    }


def _print(seen: list[Seen]) -> None:
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
