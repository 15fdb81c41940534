"""``medleak membership``: was this patient's image in that site's update?"""

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medleak.filters.imports import uncollected
from medleak.inversion.cli.shared.errors import NOT_KNOWN, fail, one_line_errors
from medleak.inversion.cli.shared.grouped import grouped
from medleak.inversion.cli.shared.membership import tell
from medleak.inversion.cli.shared.options import (
    JsonOption,
    Machine,
    RunArgument,
    chosen_device,
    records_of,
)
from medleak.inversion.cli.shared.output import printable

if TYPE_CHECKING:
    from medleak.inversion.membership.answer import Assessed

_COLUMNS = ("round", "site", "score", "candidate", "patient", "value", "p", "patient_p", "member")


@one_line_errors
@grouped
def membership(
    ctx: typer.Context,
    run: RunArgument = None,
    *,
    candidates: Annotated[
        Path, typer.Option(help="Whom it is asked about: a datalist, or a folder of images.")
    ],
    nonmembers: Annotated[
        Path | None,
        typer.Option(
            help="Images like the candidates that are certainly in no site's data: a datalist or "
            "folder. Default: what each site held out, by its list."
        ),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            help="A site's datalist, or a folder with <site>.json; to measure only. "
            "Default: what a simulated site left in its run directory."
        ),
    ] = None,
    site: Annotated[
        list[str] | None, typer.Option(help="Site to examine; may be repeated. Default: all.")
    ] = None,
    round: Annotated[
        list[int] | None, typer.Option(help="Round to examine; may be repeated. Default: all.")
    ] = None,
    score: Annotated[
        str,
        typer.Option(
            help="row_space, statistics, joint (both of these), loss_drop, gradient_cosine or "
            "loss_after."
        ),
    ] = "row_space",
    join: Annotated[
        bool, typer.Option("--join", help="Ask of all rounds of a site together, not of each.")
    ] = False,
    easy: Annotated[
        bool,
        typer.Option(
            "--health/--no-health", help="Try the score on an easy case: else failing proves less."
        ),
    ] = True,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for membership.csv and membership.json."),
    ] = None,
    machine: Machine,
    as_json: JsonOption = False,
) -> None:
    """Ask of each recorded update which candidate images it was computed from.

    Each candidate gets a p-value: the share of images that are certainly not in it which look as
    much like members. Where it is known who was in (--truth), also how well members are told from
    others. Candidates are written as their place in the list, never by name.

    Exit code 1 if an update could not be examined; the others are, all the same. 3 if of an update
    it is neither shown that members are told nor that they are not, if there was no update, or
    something in the record is none.

    Examples: medleak membership RUN --candidates asked.json --nonmembers public/xrays
    · medleak membership RUN --candidates pool.json --truth lists --site site-3 --out answers
    """
    with uncollected():
        import torch

        from medleak.custom.record import strays
        from medleak.inversion.membership.assessor import Question
        from medleak.inversion.membership.run import Plan, assess_run

    torch.set_num_threads(machine.threads)
    plan = Plan(
        records=records_of(run),
        question=Question(candidates=candidates, nonmembers=nonmembers, truth=truth),
        rounds=round,
        sites=site,
        score=score,
        joined=join,
        device=chosen_device(machine.device),
        allowed_prefixes=machine.allow_model or (),
        easy=easy,
    )
    assessed: list[Assessed] = []
    for one in assess_run(plan):
        assessed.append(one)
        if not as_json:
            _tell(one)
    content = _content(assessed)
    if as_json:
        typer.echo(json.dumps(content, indent=2))
    if out is not None:
        _write(out, assessed, content)
    refused = [one for one in assessed if one.refused is not None]
    for one in refused:
        typer.echo(
            f"medleak: round {one.round}, {printable(one.site)}: {printable(str(one.refused))}",
            err=True,
        )
    if refused:
        fail(f"{len(refused)} of {len(assessed)} updates could not be examined; the others were.")
    if others := strays(plan.records) if plan.rounds is None and plan.sites is None else []:
        fail(
            f"{len(others)} things in {plan.records} are no update of the record and were not "
            "examined. See `medleak records verify`.",
            NOT_KNOWN,
        )
    open_ones = [one for one in assessed if one.verdict is None or not one.verdict.answers]
    if open_ones:
        fail(
            f"Whether members are told is not known of {len(open_ones)} of {len(assessed)} "
            "updates; see above.",
            NOT_KNOWN,
        )


def _tell(one: "Assessed") -> None:
    if one.refused is None:
        tell(f"round {one.round}, {one.site}", one.summary())


def _content(assessed: "list[Assessed]") -> dict[str, Any]:
    from medleak.inversion.membership.rule import RULE

    candidates = [row for one in assessed for row in one.candidates]
    return {"rule": RULE, "updates": [one.summary() for one in assessed], "candidates": candidates}


def _write(out: Path, assessed: "list[Assessed]", content: dict[str, Any]) -> None:
    from medleak.custom.atomic import write_atomic

    out.mkdir(parents=True, exist_ok=True, mode=0o700)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows([row[c] for c in _COLUMNS] for one in assessed for row in one.candidates)
    write_atomic(out / "membership.csv", table.getvalue().encode())
    write_atomic(out / "membership.json", json.dumps(content, indent=1).encode() + b"\n")
