"""``medleak audit``: attack recorded updates, and say what each site leaks."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medleak.inversion.cli.errors import INTERRUPTED, fail, one_line_errors
from medleak.inversion.cli.runs import Json, Run, default_out, records_of

if TYPE_CHECKING:
    from medleak.inversion.audit.cost import Estimate
    from medleak.inversion.audit.ladder import Rung
    from medleak.inversion.audit.plan import Plan
    from medleak.inversion.audit.run import Outcome
    from medleak.inversion.results.utility import Utility

Jobs = Annotated[
    int, typer.Option(min=1, help="Cases at the same time, a process each (2 GB of memory each).")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Threads = Annotated[
    int, typer.Option(min=1, help="CPU threads a process; small images are fastest with one.")
]
AllowModel = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PREFIX",
        help="Trust model factories of this package, e.g. mylab.networks., beside the usual.",
    ),
]
Truth = Annotated[
    Path | None,
    typer.Option(
        help="A site's datalist, or a folder with <site>.json; to measure only. "
        "Default: what a simulated site left in its run directory."
    ),
]
Prior = Annotated[
    str | None,
    typer.Option(
        help="PNG (see medleak prior), gray, phantoms (mean of made-up chest X-rays), or "
        "phantoms:fundus and the like. Default: phantoms for gray images, gray for colour."
    ),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Audit directory. Default: workspace/audit-<job>-<time>."),
]

Embedding = Annotated[
    str | None,
    typer.Option(
        help="Network of IIP: imagenet, or a file of ResNet-18 weights. "
        "Default: imagenet, if it is on this machine."
    ),
]
Neighbours = Annotated[int, typer.Option("--k", min=1, help="Neighbours that IIP looks at.")]

ESTIMATE_FROM = 60.0
"""Seconds from which an audit says beforehand how long it will take."""


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
    average: Annotated[
        bool,
        typer.Option(
            "--average", help="Also let each attack join all rounds of a site up to the last."
        ),
    ] = False,
    knowledge: Annotated[
        list[str] | None,
        typer.Option(help="What the attacker knows: all, or key=value,…; may be repeated."),
    ] = None,
    ladder: Annotated[
        bool,
        typer.Option(
            "--ladder", help="Attackers who know less and less: which knowledge buys the leak?"
        ),
    ] = False,
    ladder_each: Annotated[
        bool, typer.Option("--ladder-each", help="The same, giving up one thing at a time.")
    ] = False,
    defence: Annotated[
        list[str],
        typer.Option(help="Replayed on the update first: none, or name:key=value,…; repeatable."),
    ] = ["none"],  # noqa: B006
    seed: Annotated[
        list[int], typer.Option(min=0, help="Of attack and replayed noise; may be repeated.")
    ] = [0],  # noqa: B006
    truth: Truth = None,
    prior: Prior = None,
    out: Out = None,
    jobs: Jobs = 1,
    health: Annotated[
        bool,
        typer.Option(help="Have each attack invert an easy case first: else failing proves less."),
    ] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it will cost, and do nothing.")
    ] = False,
    keep_iterations: Annotated[
        int, typer.Option(min=0, help="Keep so many iterations of each attack as pictures.")
    ] = 0,
    utility: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DEFENCE=RUN",
            help="A federation run under a defence, for its test accuracy; may be repeated.",
        ),
    ] = None,
    embedding: Embedding = None,
    k: Neighbours = 1,
    lpips: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Measure LPIPS too: alexnet (in torch's cache), or its weights."
        ),
    ] = None,
    device: Device = "auto",
    threads: Threads = 1,
    allow_model: AllowModel = None,
    as_json: Json = False,
) -> None:
    """Attack recorded updates and measure how much of the training images comes back.

    Writes results.csv, summary.json, config.json and pictures. Stopped, the same command goes on
    where it was. Exit code 1 if an update could not be audited; the others are, all the same.

    Examples: medleak audit
    · medleak audit simulator_workspace --site site-9 --round 2
    · medleak audit RUN --defence none --defence percentile_gaussian:sigma0=10 --jobs 4
    · medleak audit RUN --ladder --prior prior.png --out audits/ladder
    · medleak audit RUN --seed 0 --seed 1 --seed 2 --dry-run
    """
    import torch

    from medleak.custom.record import read_manifest
    from medleak.inversion.audit.ladder import rungs
    from medleak.inversion.audit.plan import Plan, knowledge_of
    from medleak.inversion.audit.run import cost
    from medleak.inversion.results.case import AttackSpec

    if (ladder or ladder_each) and (knowledge or (ladder and ladder_each)):
        raise ValueError(
            "--ladder, --ladder-each and --knowledge each say what attackers know, and only one of "
            "them can: run them one after the other, into the same --out."
        )
    torch.set_num_threads(threads)
    records = records_of(run)
    manifest = read_manifest(records)
    steps = rungs(one_at_a_time=ladder_each) if ladder or ladder_each else []
    attacks = [*attack, *(str(AttackSpec.parse(a).averaging()) for a in attack if average)]
    plan = Plan(
        records=records,
        out=out or default_out(manifest),
        rounds=round or None,
        sites=site or None,
        attacks=list(dict.fromkeys(attacks)),
        defences=list(dict.fromkeys(defence)),
        knowledge=[step.knowledge for step in steps]
        or [knowledge_of(text) for text in dict.fromkeys(knowledge or ["all"])],
        seeds=list(dict.fromkeys(seed)),
        prior=prior or default_prior(manifest.input.channels),
        truth=truth,
        embedding=embedding,
        neighbours=k,
        device=chosen_device(device),
        allowed_prefixes=allow_model or (),
        keep_iterations=keep_iterations,
        perceptual=lpips,
    )
    prices = _utilities(utility or ())
    estimate = cost(plan, jobs=jobs)
    if dry_run:
        tell_estimate(estimate, as_json)
        return
    if estimate.seconds > ESTIMATE_FROM:
        typer.echo(f"{estimate}.", err=True)
    _run(plan, jobs, health, steps, ladder_each, prices, as_json)


def _utilities(texts: Sequence[str]) -> "list[Utility]":
    from medleak.filters.registry import defence
    from medleak.inversion.results.case import NO_DEFENCE
    from medleak.inversion.results.utility import of_text, read_utility

    found = []
    for text in texts:
        name, run = of_text(text)
        if name != NO_DEFENCE:
            defence(name)  # a word that is none would be plotted beside no result
        found.append(read_utility(run, name))
    return found


def default_prior(channels: int) -> str:
    """What an attacker starts from if nothing better is named."""
    return "phantoms" if channels == 1 else "gray"


def chosen_device(name: str) -> str:
    """``name``, with ``auto`` resolved."""
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def tell_estimate(estimate: "Estimate", as_json: bool) -> None:
    """Print what ``--dry-run`` is about; refuse what the disk has no room for."""
    from dataclasses import asdict

    typer.echo(json.dumps(asdict(estimate), indent=2) if as_json else f"{estimate}.")
    if estimate.bytes > estimate.free:
        fail("The disk is too small for this audit.")


def _run(
    plan: "Plan",
    jobs: int,
    health: bool,
    steps: "list[Rung]",
    one_at_a_time: bool,
    utilities: "list[Utility]",
    as_json: bool,
) -> None:
    from medleak.inversion.audit.run import audit as run_audit
    from medleak.inversion.cli.output import print_ladder, print_outcomes, progress
    from medleak.inversion.results.utility import write_utilities

    outcomes: list[Outcome] = []
    total = len(plan.cases())
    command = ["medleak", *sys.argv[1:]]
    try:
        with progress(total) as (watch, finished):
            for outcome in run_audit(plan, jobs=jobs, health=health, watch=watch, command=command):
                outcomes.append(outcome)
                finished(outcome)
    except KeyboardInterrupt:
        fail(
            f"Interrupted: {len(outcomes)} of {total} cases are done and kept in {plan.out}; the "
            "same command goes on from there.",
            INTERRUPTED,
        )
    if utilities:
        write_utilities(plan.out, utilities)
    if as_json:
        summary = json.loads((plan.out / "summary.json").read_bytes())
        typer.echo(json.dumps({"out": str(plan.out), **summary}, indent=2))
    else:
        print_outcomes(plan, outcomes, health=health)
        if steps:
            print_ladder(outcomes, steps, one_at_a_time=one_at_a_time)
    if refused := [o for o in outcomes if o.refused is not None]:
        for o in refused:
            typer.echo(f"medleak: round {o.case.round}, {o.case.site}: {o.refused}", err=True)
        fail(f"{len(refused)} of {len(outcomes)} cases could not be audited; the others were.")
