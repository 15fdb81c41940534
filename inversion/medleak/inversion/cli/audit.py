"""``medleak audit``: attack recorded updates, and say what each site leaks."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medleak.filters.imports import uncollected
from medleak.inversion.cli.shared.errors import INTERRUPTED, NOT_KNOWN, fail, one_line_errors
from medleak.inversion.cli.shared.grouped import grouped
from medleak.inversion.cli.shared.membership import tell_all
from medleak.inversion.cli.shared.options import (
    Asked,
    Identification,
    JsonOption,
    Machine,
    OutOption,
    References,
    RunArgument,
    Statement,
    Workers,
    attacks_of,
    plan_of,
    question_of,
)
from medleak.inversion.cli.shared.output import printable
from medleak.inversion.cli.shared.shares import SharesOption, read_shares

if TYPE_CHECKING:
    from medleak.inversion.audit.cost import Cost
    from medleak.inversion.audit.ladder import Rung
    from medleak.inversion.audit.plan import Plan
    from medleak.inversion.audit.run import Outcome
    from medleak.inversion.audit.workers.cluster import Cluster
    from medleak.inversion.results.utility import Utility

WORKERS = (1, 16, 128)
"""Numbers of processes that ``--dry-run`` gives the time for."""
ESTIMATE_FROM = 60.0
"""Seconds from which an audit says beforehand how long it will take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """What is attacked, by whom and behind what: every combination is a case."""

    site: Annotated[
        list[str] | None, typer.Option(help="Site to audit; may be repeated. Default: all.")
    ] = None
    round: Annotated[
        list[int] | None, typer.Option(help="Round to audit; may be repeated. Default: all.")
    ] = None
    attack: Annotated[
        list[str],
        typer.Option(
            help="Attack, as name or name:key=value,…; may be repeated. none, with --candidates."
        ),
    ] = field(default_factory=lambda: ["row_space"])
    average: Annotated[
        bool,
        typer.Option(
            "--average", help="Also let each attack join all rounds of a site up to the last."
        ),
    ] = False
    knowledge: Annotated[
        list[str] | None,
        typer.Option(help="What the attacker knows: all, or key=value,…; may be repeated."),
    ] = None
    ladder: Annotated[
        bool,
        typer.Option(
            "--ladder", help="Attackers who know less and less: which knowledge buys the leak?"
        ),
    ] = False
    ladder_each: Annotated[
        bool, typer.Option("--ladder-each", help="The same, giving up one thing at a time.")
    ] = False
    defence: Annotated[
        list[str],
        typer.Option(help="Replayed on the update first: none, or name:key=value,…; repeatable."),
    ] = field(default_factory=lambda: ["none"])
    seed: Annotated[
        list[int], typer.Option(min=0, help="Of attack and replayed noise; may be repeated.")
    ] = field(default_factory=lambda: [0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much is done beside the attacks."""

    health: Annotated[
        bool,
        typer.Option(help="Have each attack invert an easy case first: else failing proves less."),
    ] = True
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it will cost, and do nothing.")
    ] = False
    sample: Annotated[
        str | None,
        typer.Option(
            metavar="KEY=N,…",
            help="Draw what is attacked: sites=20,rounds=5,strata=3,seed=0. Of the rest nothing is "
            "known then, and that is said.",
        ),
    ] = None
    sequential: Annotated[
        bool,
        typer.Option(
            "--sequential", help="Leave out a site's later rounds once it is settled to leak."
        ),
    ] = False
    keep_iterations: Annotated[
        int, typer.Option(min=0, help="Keep so many iterations of each attack as pictures.")
    ] = 0
    utility: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DEFENCE=RUN",
            help="A federation run under a defence, for its test accuracy; may be repeated.",
        ),
    ] = None


@one_line_errors
@grouped
def audit(
    ctx: typer.Context,
    run: RunArgument = None,
    *,
    grid: Grid,
    asked: Asked,
    references: References,
    out: OutOption = None,
    workers: Workers,
    extent: Extent,
    identification: Identification,
    lpips: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Measure LPIPS too: alexnet (in torch's cache), or its weights."
        ),
    ] = None,
    shares: SharesOption = None,
    beside: Annotated[
        bool,
        typer.Option(
            help="Also ask what rebuilds no image, such as whose an update is (a few seconds)."
        ),
    ] = True,
    machine: Machine,
    statement: Statement,
    as_json: JsonOption = False,
) -> None:
    """Attack recorded updates and measure how much of the training images comes back.

    Writes results.csv, summary.json, config.json and pictures; with --candidates also who was in
    (membership.csv, membership.json). Stopped, the same command goes on
    where it was. Exit code 1 if an update could not be audited; the others are, all the same. 3 if
    there is no update, something in the record is read as none and so was not audited, or what
    --shares asks could not be compared.

    Examples: medleak audit
    · medleak audit simulator_workspace --site site-9 --round 2
    · medleak audit RUN --defence none --defence percentile_gaussian:sigma0=10 --jobs 4
    · medleak audit RUN --cluster auto --seed 0 --seed 1 --seed 2
    · medleak audit RUN --ladder --prior prior.png --out audits/ladder
    · medleak audit RUN --schedule n_images=4,lr=0.01 --input 224x224x3 --task bce:14
    · medleak audit RUN --candidates pool.json --nonmembers public/xrays --truth lists
    · medleak audit RUN --seed 0 --seed 1 --seed 2 --dry-run
    · medleak audit RUN --sample sites=20,rounds=5 --sequential
    """
    with uncollected():
        import torch

        from medleak.inversion.audit.run import estimate_cost
        from medleak.inversion.audit.scope.sampling import Design
        from medleak.inversion.cli.shared.output import print_ladder, print_outcomes, print_summary
        from medleak.inversion.results.utility import write_utilities

    torch.set_num_threads(machine.threads)
    ladder = _ladder(grid)
    if shares is not None and not beside:
        raise ValueError("--no-beside leaves out what --shares asks: give one of them.")
    plan = plan_of(
        run,
        out,
        references,
        identification,
        machine,
        statement,
        **_cells(grid, ladder),
        **_question(asked, grid, references),
        keep_iterations=extent.keep_iterations,
        perceptual=lpips,
        shares=read_shares(shares),
    )
    if extent.sample is not None:
        plan = plan.sampled(Design.parse(extent.sample))
    utilities = _utilities(extent.utility or ())
    estimate = estimate_cost(plan, jobs=workers.jobs or 1)
    if extent.dry_run:
        _tell(estimate, as_json, at_most=extent.sequential)
        return
    if estimate.seconds > ESTIMATE_FROM:
        typer.echo(f"{estimate}.", err=True)
    with workers.at_work(machine.device, machine.threads) as (jobs, cluster):
        options = {"health": extent.health, "sequential": extent.sequential}
        outcomes = _run(plan, jobs, cluster, beside=beside, **options)
    if utilities:
        write_utilities(plan.out, utilities)
    if as_json:
        print_summary(plan)
    else:
        print_outcomes(plan, outcomes, health=extent.health)
        if ladder:
            print_ladder(outcomes, ladder, one_at_a_time=grid.ladder_each)
        tell_all(outcomes)
    _fail_where_refused(outcomes)
    _fail_where_not_read(plan)
    _fail_where_not_compared(outcomes)
    _fail_where_shares_were_not_compared(plan)


def _ladder(grid: Grid) -> "list[Rung]":
    """The attackers that ``--ladder`` or ``--ladder-each`` ask for; none without."""
    from medleak.inversion.audit.ladder import rungs

    if not (grid.ladder or grid.ladder_each):
        return []
    if grid.knowledge or (grid.ladder and grid.ladder_each):
        raise ValueError(
            "--ladder, --ladder-each and --knowledge each say what attackers know, and only one of "
            "them can: run them one after the other, into the same --out."
        )
    return rungs(one_at_a_time=grid.ladder_each)


def _cells(grid: Grid, ladder: "list[Rung]") -> dict[str, Any]:
    """The fields of a plan that ``grid`` fills."""
    from medleak.inversion.audit.plan import knowledge_of
    from medleak.inversion.results.replays import is_null

    if nulls := [text for text in grid.defence if is_null(text)]:
        raise ValueError(
            f"--defence {nulls[0]}: noise alone protects nobody, as it says nothing of any update. "
            "It is what `medleak calibrate` compares a defence with."
        )
    return {
        "rounds": grid.round or None,
        "sites": grid.site or None,
        "attacks": _attacks(grid),
        "defences": list(dict.fromkeys(grid.defence)),
        "knowledge": [rung.knowledge for rung in ladder]
        or [knowledge_of(text) for text in dict.fromkeys(grid.knowledge or ["all"])],
        "seeds": list(dict.fromkeys(grid.seed)),
    }


NO_ATTACK = "none"


def _attacks(grid: Grid) -> list[str]:
    if grid.attack == [NO_ATTACK]:
        return []
    return attacks_of(grid.attack, grid.average)


def _question(asked: Asked, grid: Grid, references: References) -> dict[str, Any]:
    """The fields of a plan that ask who was in."""
    if asked.candidates is None and grid.attack == [NO_ATTACK]:
        raise ValueError("--attack none without --candidates: nothing would be examined.")
    return question_of(asked, references.truth, average=grid.average)


def _utilities(texts: Sequence[str]) -> "list[Utility]":
    from medleak.inversion.results.case import NO_DEFENCE
    from medleak.inversion.results.replays import replay_of
    from medleak.inversion.results.utility import of_text, read_utility

    found = []
    for text in texts:
        name, run = of_text(text)
        if name != NO_DEFENCE:
            replay_of(name)  # a word that is none would be plotted beside no result
        found.append(read_utility(run, name))
    return found


def _tell(estimate: "Cost", as_json: bool, *, at_most: bool) -> None:
    """Print what ``--dry-run`` is about; refuse what the disk has no room for."""
    from medleak.inversion.audit.cost import duration

    times = {workers: estimate.on(workers) for workers in WORKERS}
    content = asdict(estimate) | {"core_hours": estimate.cpu_seconds / 3600, "seconds_on": times}
    content["at_most"] = at_most
    if as_json:
        typer.echo(json.dumps(content, indent=2))
    else:
        typer.echo(f"{estimate}.")
        listed = ", ".join(f"{duration(s)} by {w}" for w, s in times.items())
        typer.echo(f"{content['core_hours']:.2g} core-hours; on the clock {listed} workers.")
        if at_most:
            typer.echo("That is if no site is settled to leak before its last round; else less.")
    if estimate.bytes > estimate.free:
        fail("The disk is too small for this audit.")


def _run(plan: "Plan", jobs: int, cluster: "Cluster | None", **options: Any) -> "list[Outcome]":
    from medleak.inversion.audit.run import audit as run_audit
    from medleak.inversion.cli.shared.output import progress

    outcomes: list[Outcome] = []
    total = len(plan.cases())
    command = ["medleak", *sys.argv[1:]]
    try:
        with progress(total) as (watch, finished):
            workers: dict[str, Any] = {"jobs": jobs, "cluster": cluster, "watch": watch}
            for outcome in run_audit(plan, **workers, **options, command=command):
                outcomes.append(outcome)
                finished(outcome)
    except KeyboardInterrupt:
        fail(
            f"Interrupted: {len(outcomes)} of {total} cases are done and kept in {plan.out}; the "
            "same command goes on from there.",
            INTERRUPTED,
        )
    return outcomes


def _fail_where_refused(outcomes: "Sequence[Outcome]") -> None:
    refused = [o for o in outcomes if o.refused is not None]
    for o in refused:
        typer.echo(f"medleak: round {o.case.round}, {o.case.site}: {o.refused}", err=True)
    if refused:
        others = "; the others were" if len(refused) < len(outcomes) else ""
        fail(f"{len(refused)} of {len(outcomes)} cases could not be audited{others}.")


def _fail_where_not_compared(outcomes: "Sequence[Outcome]") -> None:
    from medleak.inversion.report.completeness import not_compared

    for sentence in not_compared(row for o in outcomes for row in o.rows):
        fail(f"Not known: {sentence}.", NOT_KNOWN)


def _fail_where_shares_were_not_compared(plan: "Plan") -> None:
    """What else an audit asks beside its attacks stands in its report, and nobody asked for it."""
    from medleak.inversion.report.attack_classes.attributes import FILE

    if not plan.shares:
        return
    asked = {"", *(f"{name} of a site" for name in plan.shares)}
    for left in json.loads((plan.out / FILE).read_bytes())["not_tested"]:
        if left["what"] in asked:
            fail(f"Not known, of --shares: {printable(left['why'])}", NOT_KNOWN)


def _fail_where_not_read(plan: "Plan") -> None:
    """Say what lies in the record beside its updates; not where only a part of it was asked for."""
    from medleak.custom.record import strays

    others = strays(plan.records) if plan.rounds is None and plan.sites is None else []
    for other in others:
        typer.echo(f"medleak: {other}: it is no update of the record.", err=True)
    if others:
        fail(
            f"{len(others)} things in {plan.records} were not audited; the updates were. See "
            "`medleak records verify`.",
            NOT_KNOWN,
        )
