"""``medleak audit``: attack recorded updates, and say what each site leaks."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medleak.inversion.cli.errors import INTERRUPTED, fail, one_line_errors
from medleak.inversion.cli.runs import Json, Run, default_out, records_of

if TYPE_CHECKING:
    from rich.console import Console

    from medleak.inversion.audit import Outcome
    from medleak.inversion.plan import Case, Plan
    from medleak.inversion.reconstruction import Progress, ProgressCallback


@one_line_errors
def audit(
    ctx: typer.Context,
    run: Run = None,
    site: Annotated[
        list[str] | None, typer.Option(help="Site to audit; may be repeated. Default: all.")
    ] = None,
    round: Annotated[
        list[int] | None, typer.Option(help="Round to audit; may be repeated. Default: all.")
    ] = None,
    attack: Annotated[
        list[str], typer.Option(help="Attack, as name or name:key=value,…; may be repeated.")
    ] = ["row_space"],  # noqa: B006 -- typer reads it, nobody changes it
    knowledge: Annotated[
        list[str],
        typer.Option(help="What the attacker knows: all, or key=value,…; may be repeated."),
    ] = ["all"],  # noqa: B006
    defence: Annotated[
        list[str],
        typer.Option(help="Replayed on the update first: none, or name:key=value,…; repeatable."),
    ] = ["none"],  # noqa: B006
    seed: Annotated[
        list[int], typer.Option(min=0, help="Of attack and replayed noise; may be repeated.")
    ] = [0],  # noqa: B006
    truth: Annotated[
        Path | None,
        typer.Option(
            help="A site's datalist, or a folder with <site>.json; to measure only. "
            "Default: what a simulated site left in its run directory."
        ),
    ] = None,
    prior: Annotated[
        str | None,
        typer.Option(
            help="PNG (see medleak prior), gray, or phantoms (mean of made-up chest X-rays). "
            "Default: phantoms for gray images, gray for colour."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Audit directory. Default: workspace/audit-<job>-<time>."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[
        int, typer.Option(min=1, help="CPU threads; small images are fastest with one.")
    ] = 1,
    allow_model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PREFIX",
            help="Trust model factories of this package, e.g. mylab.networks., beside the usual.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Attack recorded updates and measure how much of the training images comes back.

    Writes results.csv, summary.json, config.json and pictures. Stopped, the same command goes on
    where it was. Exit code 1 if an update could not be audited; the others are, all the same.

    Examples: medleak audit
    · medleak audit simulator_workspace --site site-9 --round 2
    · medleak audit RUN --defence none --defence percentile_gaussian:sigma0=10
    · medleak audit RUN --knowledge bn_statistics=false --prior prior.png --out audits/fedbn
    """
    import torch

    from medleak.custom.record import read_manifest
    from medleak.inversion.plan import Plan, knowledge_of

    torch.set_num_threads(threads)
    records = records_of(run)
    manifest = read_manifest(records)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    plan = Plan(
        records=records,
        out=out or default_out(manifest),
        rounds=round or None,
        sites=site or None,
        attacks=list(dict.fromkeys(attack)),
        defences=list(dict.fromkeys(defence)),
        knowledge=[knowledge_of(text) for text in dict.fromkeys(knowledge)],
        seeds=list(dict.fromkeys(seed)),
        prior=prior or ("phantoms" if manifest.input.channels == 1 else "gray"),
        truth=truth,
        device=device,
        allowed_prefixes=allow_model or (),
    )
    _run(plan, as_json)


def _run(plan: "Plan", as_json: bool) -> None:
    from rich.console import Console

    from medleak.inversion.audit import audit as run_audit

    quiet = Console(stderr=True)
    outcomes: list[Outcome] = []
    try:
        with _progress(quiet, len(plan.cases())) as (watch, finished):
            for outcome in run_audit(plan, watch=watch, command=["medleak", *sys.argv[1:]]):
                outcomes.append(outcome)
                finished(outcome)
    except KeyboardInterrupt:
        fail(
            f"Interrupted: {len(outcomes)} of {len(plan.cases())} cases are done and kept in "
            f"{plan.out}; the same command goes on from there.",
            INTERRUPTED,
        )
    if as_json:
        summary = json.loads((plan.out / "summary.json").read_bytes())
        typer.echo(json.dumps({"out": str(plan.out), **summary}, indent=2))
    else:
        _print(plan, outcomes)
    if refused := [o for o in outcomes if o.refused is not None]:
        for o in refused:
            typer.echo(f"medleak: round {o.case.round}, {o.case.site}: {o.refused}", err=True)
        fail(f"{len(refused)} of {len(outcomes)} cases could not be audited; the others were.")


@contextmanager
def _progress(
    console: "Console", total: int
) -> Iterator[tuple[Callable[["Case"], "ProgressCallback"], Callable[["Outcome"], None]]]:
    """Two bars on the error stream: cases done, and the running attack with its loss and ETA."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        cases = bars.add_task("cases", total=total, loss="")
        attack = bars.add_task("", total=None, loss="", visible=False)

        def watch(case: "Case") -> "ProgressCallback":
            name = f"{case.site}, round {case.round}"
            bars.reset(attack, description=name, total=None, loss="", visible=True)

            def follow(state: "Progress") -> None:
                bars.update(
                    attack,
                    completed=state.iteration,
                    total=state.total,
                    loss=f"loss {state.loss:.4f}",
                )

            return follow

        def finished(outcome: "Outcome") -> None:
            bars.update(attack, visible=False)
            bars.advance(cases)

        yield watch, finished


def _print(plan: "Plan", outcomes: "list[Outcome]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from medleak.inversion.plan import NO_DEFENCE
    from medleak.inversion.results import summarise

    lines = [_figures(outcome) for outcome in outcomes if outcome.rows]
    # A terminal has 80 columns: what is the same in all lines, and no result, is left out.
    dropped = {k for k in ("defence", "seed", "n") if len({line[k] for line in lines}) == 1}
    dropped |= {"best"} if all(line["n"] == "1" for line in lines) else set()
    dropped |= {"note"} if not any(line["note"] for line in lines) else set()
    if lines:
        shown = [name for name in lines[0] if name not in dropped]
        table = Table(*shown)
        for line in lines:
            table.add_row(*(Text(line[name]) for name in shown))
        Console().print(table)
    for group in summarise([row for o in outcomes for row in o.rows], [])["sites"]:
        protections = (("sent under", group["declared"]), ("with", group["defence"]))
        under = "".join(f", {how} {what}" for how, what in protections if what != NO_DEFENCE)
        typer.echo(f"{group['site']}{under}: {group['verdict']}")
    typer.echo(f"Prior: {plan.prior}. Pictures, figures: {plan.out}")


def _figures(outcome: "Outcome") -> dict[str, str]:
    """One line of the table."""
    rows, case = outcome.rows, outcome.case
    ssim = [r.ssim for r in rows]
    notes = ("stuck" if rows[0].stuck else "", "kept" if outcome.kept else "")
    return {
        "round": str(case.round),
        "site": case.site,
        "defence": case.defence,
        "seed": str(case.seed),
        "n": str(len(rows)),
        "SSIM": _mean(ssim),
        "best": _mean([max((v for v in ssim if v is not None), default=None)]),
        "prior": _mean([r.ssim_prior for r in rows]),
        "RDLV": _mean([r.rdlv for r in rows]),
        "CPU s": f"{rows[0].seconds:.1f}",
        "note": " ".join(filter(None, notes)),
    }


def _mean(values: Sequence[float | None]) -> str:
    known = [v for v in values if v is not None]
    return f"{sum(known) / len(known):.3f}" if known else "-"
