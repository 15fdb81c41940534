"""``medleak dp-audit``: is ε what the ledger says? Tried, not believed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medleak.inversion.cli.shared.errors import FAILED, NOT_KNOWN, fail, one_line_errors
from medleak.inversion.cli.shared.options import JsonOption
from medleak.inversion.cli.shared.output import printable

if TYPE_CHECKING:
    from medleak.inversion.dp_audit.verdict import Tried


@one_line_errors
def dp_audit(
    ctx: typer.Context,
    target: Annotated[
        str,
        typer.Argument(
            metavar="RUN|KIT|DEFENCE|COUNTS",
            help="A run in which a site planted canaries; a site's startup kit; a defence as "
            "name:key=value,… with its filter; DP-SGD as "
            "dp_sgd:noise_multiplier=1,sample_rate=0.1,steps=10; or what became of canaries, as "
            "canaries:planted=1000,guessed=500,right=350.",
        ),
    ],
    releases: Annotated[
        int, typer.Option(min=100, max=1_000_000, help="Releases of each of two updates.")
    ] = 1000,
    delta: Annotated[float, typer.Option(help="δ at which ε is compared.")] = 1e-5,
    confidence: Annotated[float, typer.Option(help="Of the lower bounds, all together.")] = 0.95,
    claimed: Annotated[
        float | None, typer.Option(help="ε that is said to hold, of canaries.")
    ] = None,
    task: Annotated[str, typer.Option(help="Task that the updates are results of.")] = "train",
    canaries: Annotated[
        Path | None,
        typer.Option(
            help="Of a RUN: the planting site's list, medleak_canaries.json. Default: where a "
            "simulated site left it."
        ),
    ] = None,
    ledger: Annotated[
        Path | None,
        typer.Option(
            help="Of a RUN: the planting site's privacy ledger. Default: where a simulated site "
            "left it, else what the site declared in the record."
        ),
    ] = None,
    guesses: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Of a RUN: canaries that are guessed, fixed before you look. Default: what would "
            "show most if ε were just as claimed.",
        ),
    ] = None,
    allow_model: Annotated[
        list[str] | None,
        typer.Option(metavar="PREFIX", help="Of a RUN: trust model factories of this package."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Of a RUN: its audit directory; its report then puts the bound beside ε.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Bound ε from below by what an attacker can tell of releases, or of planted canaries.

    Of a RUN: one of its sites planted canaries (python jobs/job.py cxr_dpsgd --canaries
    gradients:count=500), each by a coin. Who has the site's list guesses which went in, from the
    record alone; how often he is right stands beside the ε of the site's ledger.

    Of filters: thousands of releases of two neighbouring updates go through the very filters,
    without any training: a filter that adds less noise than it declares, does not clip, uses noise
    twice or lets statistics by is found. Of DP-SGD: as many small trainings by the jobs' own code,
    with a canary and without. A bound above the ledger's ε refutes it. One below proves
    nothing, as another attack might see more. Nothing is released; no ledger is touched.

    Exit code 0: every claim was tried, and none refuted. 1: ε is larger than claimed. 3: something
    was not put to the test: nothing left, no ε is claimed, or so few releases could refute none.

    Examples: medleak dp-audit simulator_workspace --out workspace/audit
    · medleak dp-audit canaries:planted=1000,guessed=500,right=350 --claimed 2
    · medleak dp-audit dp_sgd:noise_multiplier=1,sample_rate=0.1,steps=10
    · medleak dp-audit clipped_gaussian:max_grad_norm=1,noise_multiplier=2
    · medleak dp-audit /opt/nvflare/site-1 --releases 4000 --json
    """
    if not 0 < delta < 1 or not 0.5 <= confidence < 1:
        raise ValueError(
            f"--delta is {delta} and --confidence {confidence}: δ lies between 0 and 1, a "
            "confidence from 0.5 up to 1."
        )
    of_run = {
        "listed": canaries,
        "book": ledger,
        "guesses": guesses,
        "allowed_prefixes": allow_model,
    }
    given = {name: value for name, value in of_run.items() if value is not None}
    records = _records_in(target)
    _refuse_of_filters(ctx, target, of_run=records is not None)
    if records is not None:
        if claimed is not None:
            raise ValueError("--claimed goes with counts: a run's ledger says what it claims.")
        settings = given | {"delta": delta, "confidence": confidence}
        _judge_run(records, settings, out, as_json)
        return
    if given or out is not None:
        raise ValueError(
            f"--canaries, --ledger, --guesses, --allow-model and --out are of a RUN with canaries, "
            f"and {printable(target)!r} holds no record of one."
        )
    if target.startswith(f"{CANARIES}:"):
        _judge_counts(target, delta, confidence, claimed, as_json)
        return
    if claimed is not None:
        raise ValueError(
            "--claimed goes with counts of canaries: of a filter its own claim is put to the test."
        )
    results: list[dict[str, Any]] = []
    for name, found in _each_tried(target, releases, delta, confidence, task):
        results.append({"target": name} | found)
        if not as_json:
            said = found.get("verdict") or f"not examined: {found['not_examined']}"
            typer.echo(f"{printable(name)}: {printable(said)}")
    if as_json:
        typer.echo(json.dumps(results, indent=2))
    if any(r.get("kind") == "refuted" for r in results):
        raise typer.Exit(FAILED)
    if not results:
        fail(f"{printable(target)} has no chain of filters: nothing was examined.", NOT_KNOWN)
    if any(r.get("kind") != "not refuted" for r in results):
        raise typer.Exit(NOT_KNOWN)


def _refuse_of_filters(ctx: typer.Context, target: str, *, of_run: bool) -> None:
    """Options of filters that are tried would be taken and ignored where none is."""
    counted = of_run or target.startswith(f"{CANARIES}:")
    idle = ("releases", "task") if counted else ("task",) * target.startswith(f"{DP_SGD}:")
    for name in idle:
        source = ctx.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise ValueError(
                f"--{name} is of filters that are tried, and {printable(target)!r} tries none: "
                "leave it out."
            )


DP_SGD = "dp_sgd"  # as in `medleak.inversion.dp_audit.trainings`, which imports torch
CANARIES = "canaries"  # as in `medleak.inversion.dp_audit.counts`, which imports scipy


def _records_in(target: str) -> Path | None:
    """The record of the run ``target``; None where it is a kit, or no folder at all."""
    folder = Path(target)
    if not folder.is_dir():
        return None
    from medleak.custom.record import RecordError, find_records

    try:
        return find_records(folder)
    except RecordError:
        if (folder / "local").is_dir():
            return None
        raise


def _judge_run(records: Path, settings: dict[str, Any], out: Path | None, as_json: bool) -> None:
    """Bound the ε of every site of the run that planted canaries."""
    from medleak.inversion.dp_audit import beside
    from medleak.inversion.dp_audit.planted import Examiner, examine, planting_sites

    if out is not None:
        beside.require_of_this_run(out, records)
    planted = planting_sites(records)
    if not planted:
        if out is not None:
            beside.write(out, records, [], {"": "no update of the run holds canaries"})
        fail(
            f"No update in {records} is marked as holding canaries: ε was not put to the test. "
            "Run the job again with some (python jobs/job.py cxr_dpsgd --canaries "
            "gradients:count=500), or try the site's filters: medleak dp-audit KIT.",
            NOT_KNOWN,
        )
    if len(planted) > 1 and ("listed" in settings or "book" in settings):
        raise ValueError(
            f"{', '.join(planted)} planted canaries, each with a list and a ledger of its own: "
            "--canaries and --ledger cannot be for all. Put them where the sites left them."
        )
    found, errors = [], {}
    for site, infos in planted.items():
        try:
            found.append(examine(records, site, infos, Examiner(**settings)))
        except ValueError as error:
            errors[site] = error
            continue
        if not as_json:
            typer.echo(printable(str(found[-1])))
    if out is not None:
        beside.write(out, records, found, {site: str(error) for site, error in errors.items()})
    if as_json and (found or not errors):
        typer.echo(json.dumps([one.as_json() for one in found], indent=2))
    kinds = {one.kind for one in found}
    if "refuted" in kinds:
        for site, error in errors.items():
            typer.echo(f"medleak: {printable(site)}: not tested: {printable(str(error))}", err=True)
        raise typer.Exit(FAILED)
    if errors:
        raise next(iter(errors.values()))
    if kinds != {"not refuted"}:
        raise typer.Exit(NOT_KNOWN)


def _judge_counts(
    target: str, delta: float, confidence: float, claimed: float | None, as_json: bool
) -> None:
    from medleak.inversion.dp_audit.counts import judge

    found = judge(target, delta=delta, confidence=confidence, claimed=claimed)
    typer.echo(json.dumps([found.as_json()], indent=2) if as_json else str(found))
    if found.kind == "refuted":
        raise typer.Exit(FAILED)
    if found.kind != "not refuted":
        raise typer.Exit(NOT_KNOWN)


def _each_tried(
    target: str, count: int, delta: float, confidence: float, task: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """What is found of each chain of filters that ``target`` names, or of DP-SGD."""
    if target.startswith(f"{DP_SGD}:"):
        from medleak.inversion.dp_audit.trainings import Trial, trained
        from medleak.inversion.dp_audit.verdict import judge

        seen = trained(Trial.parse(target), count)
        found = judge(
            seen.scores, seen.guarantee, relation=seen.relation, delta=delta, confidence=confidence
        )
        yield target, found.as_json()
        return
    from medleak.filters.doctor.neighbours import each_chain

    for chain in each_chain(target):
        yield chain.name, _tried(chain, count, delta, confidence, task)


def _tried(chain: Any, count: int, delta: float, confidence: float, task: str) -> dict[str, Any]:
    from medleak.filters.doctor.neighbours import NothingLeft, releases
    from medleak.inversion.dp_audit.verdict import judge

    try:
        seen = releases(chain, count, task=task)
    except NothingLeft as error:
        return {"not_examined": str(error)}
    found: Tried = judge(
        seen.scores,
        seen.guarantee,
        relation=seen.relation,
        delta=delta,
        confidence=confidence,
    )
    return found.as_json()
