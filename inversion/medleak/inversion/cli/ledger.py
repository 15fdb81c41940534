"""``medleak ledger``: ε spent per site and round, from the sites' own ledgers."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medleak.inversion.cli.shared.errors import FAILED, NOT_KNOWN, one_line_errors
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
    check: Annotated[
        Path | None,
        typer.Option(
            "--check",
            metavar="RECORD",
            help="A record of the server: its heads must be lines of the ledgers.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Verify privacy ledgers and print what they say: ε at δ, or "none" for heuristics.

    A ledger named by itself may be a copy without the site's key: then only that no line is missing
    is verified, and said. --check compares with what the server's record says that each site
    declared: so a ledger that was deleted or restored together with its witness is noticed.

    Exit code 1 if a ledger was changed or damaged, or lacks what the record says. 3 if a ledger
    holds no release, or a copy ends in half a line, or a site of the record has no ledger here,
    or an update there declares no line of one: then nothing, or not everything, was verified.

    Examples: medleak ledger  ·  medleak ledger simulator_workspace --json
    · medleak ledger site-1 --check records
    """
    from medleak.filters.privacy import ledger as ledgers

    found = [p for place in _places(run) for p in ledgers.find(place)]
    if not found:
        where = [str(run)] if run is not None else [f"{place}/" for place in _PLACES]
        raise ValueError(
            f"No privacy ledger under {' or '.join(where)}: no site with the filter PrivacyLedger "
            "released anything there. Name a site's folder, or add the filter."
        )
    bad: list[dict[str, str]] = []
    content, unknown = [], []
    heads, bare = (None, {}) if check is None else _heads(check)
    for path in found:
        try:
            copied = run is not None and run.is_file()
            verified = ledgers.read_copy(path) if copied else ledgers.read(path)
            if heads is not None:
                _compare(verified, heads, check)
            content.append(_content(path, verified))
            unknown += [f"{path}: {what}" for what in _not_known(verified, copied)]
        except ledgers.LedgerError as error:
            bad.append({"ledger": str(path), "error": " ".join(str(error).split())})
    if heads is not None and not bad:
        unknown += _without_ledger(heads, content, run)
        unknown += _past_the_ledger(bare, content, run)
    if as_json:
        typer.echo(
            json.dumps({"ledgers": content, "refused": bad, "not_examined": unknown}, indent=2)
        )
    else:
        for one in content:
            _print(one)
    for one in bad:
        typer.echo(f"medleak: {one['ledger']}: {one['error']}", err=True)
    for sentence in unknown:
        typer.echo(f"medleak: not known: {printable(sentence)}", err=True)
    if bad or unknown:
        raise typer.Exit(FAILED if bad else NOT_KNOWN)


def _not_known(verified: "Verified", copied: bool) -> list[str]:
    """What a ledger that is sound as far as it goes leaves open."""
    if not verified.entries:
        return [
            "it holds no release, so nothing was verified and no ε is known. If the site did send "
            "updates, this is not its ledger."
        ]
    if verified.torn and copied:
        return ["the copy ends in half a line: releases after it may be missing. Copy it anew."]
    return []


def _without_ledger(
    heads: "dict[str, list[tuple[int, int, str]]]",
    content: list[dict[str, Any]],
    run: Path | None,
) -> list[str]:
    """The sites of a record whose ledgers were not found, where those of all sites were asked for.

    A ledger named by itself, or by the folder named after its site, is compared alone.
    """
    here = _sites(content)
    if _of_one_site(run, here):
        return []
    return [
        f"{site} declared {len(declared)} releases in the record and has no ledger here: what it "
        "spent was not compared. Name its ledger too, or look whether it was deleted."
        for site, declared in heads.items()
        if site not in here
    ]


def _past_the_ledger(
    bare: dict[str, list[int]], content: list[dict[str, Any]], run: Path | None
) -> list[str]:
    """Updates that the server received without a line of any ledger: what they cost is not known.

    Of the sites whose ledgers are here, and of all where those of all sites were asked for.
    """
    here = _sites(content)
    return [
        f"{site} sent updates that declare no line of a ledger (round "
        f"{', '.join(map(str, rounds))}): what they cost stands in none. Look which filters ran "
        "at the site then."
        for site, rounds in bare.items()
        if site in here or not _of_one_site(run, here)
    ]


def _sites(content: list[dict[str, Any]]) -> set[str]:
    return {entry["spend"]["site"] for one in content for entry in one["entries"]}


def _of_one_site(run: Path | None, here: set[str]) -> bool:
    return run is not None and (run.is_file() or run.resolve().name in here)


def _heads(
    record: Path,
) -> tuple[dict[str, list[tuple[int, int, str]]], dict[str, list[int]]]:
    """For each site, round, number of entries and head that it declared with an update.

    And for each site the rounds of those of its updates that declare none.
    """
    from medleak.custom.record import find_records, list_updates, read_info

    root = find_records(record)
    heads: dict[str, list[tuple[int, int, str]]] = {}
    bare: dict[str, list[int]] = {}
    for round, site in list_updates(root):
        declared = read_info(root, round, site).ledger
        if declared is None:
            bare.setdefault(site, []).append(round)
        else:
            heads.setdefault(site, []).append((round, declared.entries, declared.head))
    if not heads:
        raise ValueError(
            f"The record {str(record)!r} holds no head of a ledger: no site declared one with its "
            "updates. Name the record of a job with PrivacyLedger."
        )
    return heads, bare


def _compare(
    verified: "Verified", heads: dict[str, list[tuple[int, int, str]]], record: Path | None
) -> None:
    """Raise LedgerError unless every head that the server holds is a line of this ledger."""
    from medleak.filters.privacy.ledger import LedgerError

    sites = {entry.spend.site for entry in verified.entries}
    known = [head for site in sites for head in heads.get(site, [])]
    if not known:
        raise LedgerError(
            f"The record {str(record)!r} has heads of {', '.join(sorted(heads))}, and this ledger "
            f"is of {', '.join(sorted(sites)) or 'no site: it is empty'}. It was emptied, or is of "
            "another job."
        )
    hashes = {entry.number: entry.hash for entry in verified.entries}
    for round, number, head in known:
        if hashes.get(number) != head:
            raise LedgerError(
                f"Line {number}, which the site declared in round {round}, is not in this ledger "
                f"of {len(hashes)} lines: it was replaced or restored from an older state. The ε "
                "that was spent is at least what the record says."
            )


def _places(run: Path | None) -> list[Path]:
    if run is None:
        return [Path(place) for place in _PLACES if Path(place).is_dir()]
    if not run.exists():
        raise ValueError(
            f"RUN {str(run)!r} does not exist: there is no ledger to read. Name "
            "a ledger, a site's folder or a simulator workspace."
        )
    return [run]


def _content(path: Path, verified: "Verified") -> dict[str, Any]:
    from medleak.filters.privacy.ledger import balances

    return {
        "ledger": str(path),
        "head": verified.head,
        "torn": verified.torn,
        "keyed": verified.keyed,
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
        f"{content['ledger']}: "
        + ("chain intact" if content["keyed"] else "a copy without its key, no line is missing")
        + f", {len(content['entries'])} releases, "
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
    guarantees = [g for entry in content["entries"] for g in entry["spend"]["guarantees"]]
    beside = list(dict.fromkeys(word for g in guarantees for word in g["beside"]))
    if beside:
        typer.echo(f"Not covered, as it left exactly beside the updates: {', '.join(beside)}.")
