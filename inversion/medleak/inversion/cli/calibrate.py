"""``medleak calibrate``: how much of a defence is enough, and what it costs."""

import importlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medleak.filters.imports import uncollected
from medleak.inversion.cli.shared.errors import INTERRUPTED, fail, one_line_errors
from medleak.inversion.cli.shared.grouped import grouped
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

if TYPE_CHECKING:
    from medleak.inversion.audit.plan import Plan
    from medleak.inversion.audit.run import Outcome
    from medleak.inversion.audit.workers.cluster import Cluster
    from medleak.inversion.calibration.goal import Goal as CalibrationGoal
    from medleak.inversion.calibration.search import Mechanism
    from medleak.inversion.calibration.site import Calibration
    from medleak.inversion.results.utility import Utility


MARGIN = 0.05  # as in `medleak.inversion.calibration.goal`, which imports torch
CLOSE = 0.6  # as in `medleak.inversion.membership.rule`, which imports torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Strength:
    """Which number of which defence is searched, and where."""

    defence: Annotated[
        str, typer.Option(help="Its strength left out: percentile_gaussian, or name:key=value,…")
    ] = "percentile_gaussian"
    scope: Annotated[
        str | None, typer.Option(help="Short for scope=… of percentile_gaussian, e.g. group.")
    ] = None
    parameter: Annotated[
        str | None, typer.Option(help="The strength's name. Default: the usual one, e.g. sigma0.")
    ] = None
    low: Annotated[float | None, typer.Option(help="Least value to try.")] = None
    high: Annotated[float | None, typer.Option(help="Largest value to try.")] = None
    less_protects: Annotated[
        bool | None,
        typer.Option(
            "--less-protects/--more-protects", help="What a smaller value does, if not known."
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """What every strength is tried against."""

    site: Annotated[list[str] | None, typer.Option(help="Site; may be repeated. Default: all.")] = (
        None
    )
    round: Annotated[
        list[int] | None, typer.Option(help="Round; may be repeated. Default: the last.")
    ] = None
    attack: Annotated[
        list[str], typer.Option(help="Attack; may be repeated: the strongest counts.")
    ] = field(default_factory=lambda: ["row_space"])
    average: Annotated[
        bool, typer.Option("--average", help="Also let each attack join all rounds of a site.")
    ] = False
    knowledge: Annotated[
        list[str], typer.Option(help="What the attacker knows; may be repeated.")
    ] = field(default_factory=lambda: ["all"])
    seeds: Annotated[
        int, typer.Option(min=2, help="Runs of each probe; a confirmation has as many fresh ones.")
    ] = 3
    seconds: Annotated[
        float | None, typer.Option(min=0.1, help="CPU seconds of an attack on one update, at most.")
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """When a strength is found, and what else is to be said of it."""

    tolerance: Annotated[
        float, typer.Option(help="Ratio of the strength found to one that was seen to leak.")
    ] = 1.25
    margin: Annotated[
        float,
        typer.Option(min=0.0, help="Excess in RDLV over noise alone that counts as no leak."),
    ] = MARGIN
    until: Annotated[
        str, typer.Option(help="images: none comes back. membership: nobody is told to be in.")
    ] = "images"
    auc: Annotated[
        float,
        typer.Option(help="With --until membership: AUC up to which members count as not told."),
    ] = CLOSE
    utility: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STRENGTH=RUN",
            help="A federation run at a strength (0: without), for its accuracy; repeatable.",
        ),
    ] = None


@one_line_errors
@grouped
def calibrate(
    ctx: typer.Context,
    run: RunArgument = None,
    *,
    strength: Strength,
    probes: Probes,
    goal: Goal,
    asked: Asked,
    references: References,
    out: OutOption = None,
    workers: Workers,
    identification: Identification,
    machine: Machine,
    statement: Statement,
    as_json: JsonOption = False,
) -> None:
    """Find the least strength of a defence at which nothing leaks, for each site.

    Nothing leaks: under the strongest of the attacks with the knowledge assumed, RDLV cannot be
    told from what the attack makes of noise alone (the upper end of the 95 % interval of the excess
    is at most --margin). With --until membership: the AUC of who was in is at most 0.6 by its
    upper bound, and no patient is recognised. Probes are cases of the audit directory, so the same
    command goes on where it was stopped. Writes calibration.json, or membership_calibration.json,
    beside results.csv. Where an update contradicts what was said of it, the answer is inconclusive.
    Exit code 1 if a site has no
    protecting strength. 3 if the record has no update.

    Examples: medleak calibrate RUN --scope group --site site-9 --prior prior.png
    · medleak calibrate RUN --until membership --candidates pool.json --nonmembers public/xrays
    · medleak calibrate RUN --defence top_k --low 0.001 --high 0.5
    · medleak calibrate RUN --scope group --utility 0=runs/clean --utility 3=runs/sigma0-3
    · medleak calibrate RUN --schedule n_images=1,lr=0.01 --input 224x224x3 --task bce:14
    """
    with uncollected():
        import torch

        importlib.import_module("medleak.inversion.calibration.run")

    torch.set_num_threads(machine.threads)
    until = _until(goal, asked, probes)
    plan = plan_of(
        *(run, out, references, identification, machine, statement),
        **_cells(probes) | _question(asked, probes, references, goal),
    )
    chosen = _mechanism(strength)
    if probes.round is None:
        plan = replace(plan, rounds=[max(round for round, _ in plan.updates())])
    utilities = _utilities(goal.utility or (), chosen)
    with workers.at_work(machine.device, machine.threads) as (jobs, cluster):
        answers = _run(plan, chosen, goal, until, jobs, cluster, utilities)
    if as_json:
        _print_json(plan, until)
    else:
        _print(plan, chosen, answers, utilities, until)
    if missing := [a for a in answers if a.strength is None]:
        fail(f"{len(missing)} of {len(answers)} sites have no protecting strength; see above.")


def _cells(probes: Probes) -> dict[str, Any]:
    """The fields of a plan that ``probes`` fill."""
    from medleak.filters.spec import rounded
    from medleak.inversion.audit.plan import knowledge_of
    from medleak.inversion.results.case import AttackSpec

    asked = [AttackSpec.parse(attack) for attack in probes.attack]
    if probes.seconds is not None:
        asked = [attack.with_(seconds=rounded(probes.seconds)) for attack in asked]
    return {
        "rounds": probes.round or None,
        "sites": probes.site or None,
        "attacks": attacks_of([str(attack) for attack in asked], probes.average),
        "knowledge": [knowledge_of(text) for text in dict.fromkeys(probes.knowledge)],
        "seeds": list(range(probes.seeds)),
    }


def _until(goal: Goal, asked: Asked, probes: Probes) -> "CalibrationGoal[Any]":
    from medleak.inversion.calibration.goal import NoImages
    from medleak.inversion.calibration.members import NobodyTold

    if goal.until == "membership":
        if asked.candidates is None:
            raise ValueError("--until membership asks who was in, of nobody: name --candidates.")
        if goal.margin != MARGIN or probes.seconds is not None or probes.attack != ["row_space"]:
            raise ValueError(
                "--margin, --seconds and --attack are about images: with --until membership no "
                "image is rebuilt. Leave them out."
            )
        return NobodyTold(most=goal.auc)
    if goal.until != "images":
        raise ValueError(f"--until {goal.until} is unknown; choose images or membership.")
    if asked != Asked() or goal.auc != CLOSE:
        raise ValueError(
            "--candidates, --nonmembers, --score and --auc are about who was in: they go with "
            "--until membership."
        )
    return NoImages(margin=goal.margin)


def _question(asked: Asked, probes: Probes, references: References, goal: Goal) -> dict[str, Any]:
    """The fields of a plan that ask who was in, in place of any attack."""
    if goal.until != "membership":
        return {}
    return {"attacks": []} | question_of(asked, references.truth, average=probes.average)


def _mechanism(strength: Strength) -> "Mechanism":
    from medleak.filters.spec import SpecChain
    from medleak.inversion.calibration.search import mechanism

    defence = strength.defence
    if strength.scope is not None:
        defence = str(SpecChain.parse(defence).with_(scope=strength.scope))
    return mechanism(
        defence,
        parameter=strength.parameter,
        low=strength.low,
        high=strength.high,
        less_protects=strength.less_protects,
    )


def _utilities(texts: Sequence[str], chosen: "Mechanism") -> "list[Utility]":
    from medleak.inversion.results.case import NO_DEFENCE
    from medleak.inversion.results.utility import of_text, read_utility

    found = []
    for text in texts:
        number, run = of_text(text)
        try:
            strength = float(number)
        except ValueError:
            raise ValueError(
                f"--utility {text!r}: {number!r} is no number; give STRENGTH=RUN, with the "
                f"{chosen.parameter} that the federation was run under."
            ) from None
        bare = strength == chosen.nothing
        found.append(read_utility(run, NO_DEFENCE if bare else chosen.text(strength), strength))
    return sorted(found, key=lambda u: u.strength or 0.0)


def _run(
    plan: "Plan",
    chosen: "Mechanism",
    goal: Goal,
    until: "CalibrationGoal[Any]",
    jobs: int,
    cluster: "Cluster | None",
    utilities: "list[Utility]",
) -> "list[Calibration]":
    from medleak.inversion.calibration.run import calibrate as run_calibration
    from medleak.inversion.cli.shared.output import progress
    from medleak.inversion.results.utility import write_utilities

    answers: list[Calibration] = []
    try:
        with progress(None) as (watch, finished):

            def finished_all(outcomes: "Sequence[Outcome]") -> None:
                for outcome in outcomes:
                    finished(outcome)

            for answer in run_calibration(
                plan,
                chosen,
                goal=until,
                tolerance=goal.tolerance,
                jobs=jobs,
                cluster=cluster,
                watch=watch,
                told=finished_all,
                command=["medleak", *sys.argv[1:]],
                utilities=utilities,
            ):
                answers.append(answer)
    except KeyboardInterrupt:
        fail(
            f"Interrupted: the probes so far are kept in {plan.out}; the same command goes on "
            "from there.",
            INTERRUPTED,
        )
    if utilities:
        write_utilities(plan.out, utilities)
    return answers


def _print_json(plan: "Plan", until: "CalibrationGoal[Any]") -> None:
    from medleak.inversion.calibration.run import name_of, read_calibration

    content = {"out": str(plan.out), "sites": read_calibration(plan.out, name_of(until))}
    typer.echo(json.dumps(content, indent=2))


def _print(
    plan: "Plan",
    chosen: "Mechanism",
    answers: "list[Calibration]",
    utilities: "list[Utility]",
    until: "CalibrationGoal[Any]",
) -> None:
    from medleak.inversion.calibration.run import name_of
    from medleak.inversion.cli.shared.output import print_statement, print_table

    probes = [
        {
            "site": answer.site,
            chosen.parameter: f"{p.strength:g}",
            **p.columns(),
            "": "fresh seeds" if p.fresh else "no defence" if p is answer.searched[0] else "",
        }
        for answer in answers
        for p in sorted(answer.searched, key=lambda p: (p.strength, p.fresh))
    ]
    print_table(probes)
    for answer in answers:
        strength = "-" if answer.strength is None else f"{chosen.parameter}={answer.strength:g}"
        typer.echo(f"{answer.site}: {strength}: {answer.why}.")
    print_statement(plan, set(plan.updates()))
    if not plan.scores:
        typer.echo("Intervals over runs are about noise and starts alone, not about other images.")
    _print_policy(plan, answers, until)
    _print_utilities(answers, chosen, utilities)
    typer.echo(f"Probes and answers: {plan.out}, {Path(plan.out) / name_of(until)}")


def _print_policy(
    plan: "Plan", answers: "list[Calibration]", until: "CalibrationGoal[Any]"
) -> None:
    from medleak.inversion.calibration.run import name_of, read_calibration

    written = read_calibration(plan.out, name_of(until))
    for answer in answers:
        if lines := written[answer.site]["privacy_json"]:
            typer.echo(f"local/privacy.json of {answer.site} (see docs/deploy.md):")
            typer.echo(json.dumps(lines, indent=2))


def _print_utilities(
    answers: "list[Calibration]", chosen: "Mechanism", utilities: "list[Utility]"
) -> None:
    for u in utilities:
        typer.echo(
            f"{chosen.parameter}={u.strength:g}: test accuracy {u.accuracy:.3f} "
            f"({u.lower95:.3f} to {u.upper95:.3f}, {u.n} images, {u.source})"
        )
    known = {u.strength for u in utilities}
    missing = sorted({a.strength for a in answers if a.strength is not None} - known)
    for strength in missing:
        typer.echo(
            "What it costs in accuracy is not known yet. A federation under it:\n"
            f'    python jobs/job.py cxr_clean --env sim --defence "{chosen.text(strength)}"\n'
            f"then add: --utility {strength:g}=<its workspace>"
        )
