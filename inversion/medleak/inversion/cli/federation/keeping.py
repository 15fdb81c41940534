"""``medleak records prune``, ``compress`` and ``budget``: a record that would be too large."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medleak.inversion.cli.shared.errors import one_line_errors
from medleak.inversion.cli.shared.options import JsonOption, RunArgument, records_of

if TYPE_CHECKING:
    from medleak.custom.record.keeping.pruning import Pruning

_MOST_ROUNDS = 1_000_000


@one_line_errors
def prune_records(
    ctx: typer.Context,
    run: RunArgument = None,
    *,
    round: Annotated[
        list[str] | None,
        typer.Option(metavar="N|N-M", help="Rounds that go, 7 or 10-99; may be repeated."),
    ] = None,
    site: Annotated[
        list[str] | None, typer.Option(help="Site whose updates go; may be repeated.")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it. Without, say only what would go.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Take updates out of a record for good: of some rounds, of some sites, or where both meet.

    Says what goes and which audits are impossible then; nothing is done without --yes. The first
    round's model stays, and the manifest says what was there. Not while a job still records.

    Examples: medleak records prune RUN --round 1-9 --round 11-19
    · medleak records prune RUN --site site-7 --yes
    """
    from medleak.custom.record.keeping.pruning import known_rounds, plan_pruning, prune
    from medleak.inversion.audit.cost import size

    root = records_of(run)
    rounds = None
    if round:
        asked = [_rounds(text) for text in round]
        there = known_rounds(root)
        rounds = [r for r in there if any(r in span for span in asked)]
        for text, span in zip(round, asked, strict=True):
            if not any(r in span for r in there):
                raise ValueError(f"--round {text}: no such round is recorded in {root}.")
    plan = plan_pruning(root, rounds, site)
    if yes:
        prune(plan)
    if as_json:
        typer.echo(json.dumps(_told(plan, yes), indent=2))
        return
    done = "are gone" if yes else "would go"
    freed, stay = size(plan.freed_bytes), len(plan.stay)
    typer.echo(f"{root}: {len(plan.updates)} updates {done}, {freed}; {stay} stay.")
    for text in plan.no_longer():
        typer.echo(text)
    if not yes:
        typer.echo("Nothing was done. --yes does it; it cannot be undone.")


def _told(plan: "Pruning", done: bool) -> dict[str, object]:
    return {
        "records": str(plan.root),
        "done": done,
        "bytes": plan.freed_bytes,
        "updates": [{"round": r, "site": s} for r, s in plan.updates],
        "stay": len(plan.stay),
        "models": len(plan.models),
        "no_longer": plan.no_longer(),
    }


def _rounds(text: str) -> range:
    first, dash, last = text.partition("-")
    try:
        span = range(int(first), int(last if dash else first) + 1)
    except ValueError:
        span = range(0)
    if not span or span[-1] > _MOST_ROUNDS or span[0] < 0:
        raise ValueError(f"--round {text!r} is no round: give 7, or 10-99.")
    return span


@one_line_errors
def compress_records(
    ctx: typer.Context, run: RunArgument = None, as_json: JsonOption = False
) -> None:
    """Compress the tensors of a record by Zstandard, without loss; hashes stay as they are.

    Every medleak with the extra zstd reads it, and `zstd -d` gives the files back. A file that is
    damaged already is left as it is, and named; then the exit code is 1. Not while a job records.

    Examples: medleak records compress RUN
    """
    from medleak.custom.record.keeping.compressing import compress_record
    from medleak.inversion.audit.cost import size

    root = records_of(run)
    done = compress_record(root)
    if as_json:
        content = {"files": done.files, "before": done.before, "after": done.after}
        typer.echo(json.dumps({"records": str(root), **content, "damaged": done.damaged}, indent=2))
    else:
        share = f" ({100 * done.after / done.before:.0f} %)" if done.before else ""
        typer.echo(
            f"{root}: {done.files} files, {size(done.before)} before, {size(done.after)} "
            f"now{share}."
        )
    for why in done.damaged:
        typer.echo(f"medleak: {why}", err=True)
    if done.damaged:
        raise typer.Exit(1)


@one_line_errors
def budget_records(
    ctx: typer.Context,
    *,
    sites: Annotated[int, typer.Option(min=1, help="Sites that answer in each round.")],
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of the run.")],
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Weights like those that will be sent.")
    ] = None,
    model_mb: Annotated[
        float | None, typer.Option(min=0.001, help="Instead: the size of the model, in MB.")
    ] = None,
    every_n_rounds: Annotated[int, typer.Option(min=1, help="The recorder keeps 0, n, 2n, …")] = 1,
    budget_mb: Annotated[
        float | None, typer.Option(min=0.001, help="The recorder's disk_budget_mb.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say before a run how much disk its record takes, and what a budget would leave out.

    Examples: medleak records budget --model-mb 45 --sites 100 --rounds 100 --budget-mb 50000
    · medleak records budget --weights global.safetensors --sites 9 --rounds 20
    """
    from medleak.custom.record.keeping.budget import Need
    from medleak.inversion.audit.cost import size

    if (weights is None) == (model_mb is None):
        raise ValueError("Give --weights or --model-mb: without one the size is not known.")
    model = _bytes_of(weights) if weights is not None else int((model_mb or 0) * 1e6)
    need = Need(model_bytes=model, sites=sites, rounds=rounds, every_n_rounds=every_n_rounds)
    said = "" if budget_mb is None else need.left_out(budget_mb * 1e6)
    kept = need.kept_rounds * sites if budget_mb is None else need.fitting(budget_mb * 1e6)[1]
    if as_json:
        content = {
            "bytes": need.total_bytes,
            "bytes_a_round": need.round_bytes,
            "updates_kept": kept,
        }
        typer.echo(json.dumps({**content, "left_out": said}, indent=2))
        return
    typer.echo(
        f"{need.kept_rounds * sites} updates of {size(model)}: {size(need.total_bytes)} in all, "
        f"{size(need.round_bytes)} a round."
    )
    if budget_mb is not None:
        typer.echo(said or "The budget holds all of it.")


def _bytes_of(weights: Path) -> int:
    from medleak.custom.networks.weights import read_state, unwrapped
    from medleak.custom.record.tensors import as_arrays

    return sum(v.nbytes for v in as_arrays(str(weights), unwrapped(read_state(weights))).values())
