"""``medleak records``: what was recorded, and whether it can be trusted."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medleak.inversion.cli.shared.errors import FAILED, NOT_KNOWN, fail, one_line_errors
from medleak.inversion.cli.shared.grouped import grouped
from medleak.inversion.cli.shared.options import (
    JsonOption,
    RunArgument,
    Statement,
    given_of,
    records_of,
)
from medleak.inversion.cli.shared.output import printable

if TYPE_CHECKING:
    from medleak.custom.record import Manifest
    from medleak.custom.record.tensors import Arrays

_SHOWN = ("n_images", "n_steps", "batch_size", "lr")  # of an update's schedule, in its row

records = typer.Typer(
    name="records",
    help="List the updates that a server recorded, or verify them.",
    no_args_is_help=True,
)


@records.command(
    "ls",
    epilog="Examples: medleak records ls  ·  medleak records ls simulator_workspace --json",
)
@one_line_errors
def list_records(ctx: typer.Context, run: RunArgument = None, as_json: JsonOption = False) -> None:
    """List the recorded updates: rounds, sites, schedules, declared defences.

    Exit code 3 where there is none, or something in the record is read as no update.
    """
    from medleak.custom.record import RecordError, list_updates, read_info, read_manifest

    root = records_of(run)
    manifest = read_manifest(root)
    rows, bad = [], []
    for round, site in list_updates(root):
        try:
            rows.append(read_info(root, round, site).model_dump(by_alias=True))
        except RecordError as error:
            bad.append({"round": round, "site": site, "error": " ".join(str(error).split())})
    if as_json:
        content = {"records": str(root), "manifest": manifest.model_dump(), "updates": rows}
        typer.echo(json.dumps({**content, "unreadable": bad}, indent=2))
    else:
        _print(root, manifest, rows)
    for row in bad:
        typer.echo(f"medleak: round {row['round']}, {row['site']}: {row['error']}", err=True)
    _end(root, len(rows) + len(bad), bool(bad), "listed")


@records.command(
    "verify",
    epilog="Examples: medleak records verify  ·  medleak records verify RUN --full --json",
)
@one_line_errors
def verify_records(
    ctx: typer.Context,
    run: RunArgument = None,
    *,
    full: Annotated[
        bool,
        typer.Option("--full", help="Read everything again, also what has not changed since."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check every update's hashes, shapes and values; exit 1 if one is bad.

    What you verified before is not read again while its .json has the same hash and its tensor
    files the same size, times, inode and device; who can write to the disk past the file system
    can change that unseen, and --full finds it. Exit code 3 where there is no update, or something
    in the record is read as none: then nothing, or not everything, was verified.
    """
    from medleak.custom.record import gaps_text, left_out_text, read_manifest, strays
    from medleak.custom.record.keeping.verified import kept_models, remembered, verify_again

    root = records_of(run)
    gone = read_manifest(root).left_out
    with remembered(root) as memory:
        found = list(verify_again(root, memory, everything=full))
    if memory.why_not:
        typer.echo(f"medleak: {memory.why_not}", err=True)
    results = [
        {"round": c.round, "site": c.site, "ok": c.error is None, "error": c.error, "read": c.read}
        for c in found
    ]
    models = [{"round": r, "ok": error is None, "error": error} for r, error in kept_models(root)]
    left_out = left_out_text(gone)
    gaps = gaps_text([(c.round, c.site) for c in found], gone)
    if as_json:
        content = {"records": str(root), "updates": results, "models": models, "gaps": gaps}
        content |= {"left_out": left_out, "not_read": strays(root)}
        typer.echo(json.dumps(content, indent=2))
    else:
        _print_verified(root, results, memory.since)
        for text in filter(
            None, (left_out and f"{left_out}: what was in them cannot be verified", gaps)
        ):
            typer.echo(printable(f"{text}."))
    bad = [r for r in (*results, *models) if not r["ok"]]
    for r in bad:
        why = " ".join(str(r["error"]).split())
        typer.echo(f"medleak: round {r['round']}, {r.get('site', 'its model')}: {why}", err=True)
    _end(root, len(results), bool(bad), "verified")


def _print_verified(root: Path, results: list[dict[str, Any]], since: str | None) -> None:
    """How many updates are as recorded, and how many of them were read for that."""
    if not results:
        return
    right = sum(r["ok"] for r in results)
    typer.echo(f"{root}: {right} of {len(results)} updates are as recorded.")
    if same := sum(not r["read"] for r in results):
        typer.echo(
            f"{len(results) - same} were read now. {same} were not: their files are unchanged "
            f"since they were read, {since} at the latest, as far as the file system tells. "
            "--full reads all."
        )


def _end(root: Path, n: int, any_bad: bool, done: str) -> None:
    """Say what of the record at ``root`` was not ``done``, and exit accordingly."""
    from medleak.custom.record import read_manifest, strays, why_empty

    others = strays(root)
    for other in others:
        typer.echo(
            f"medleak: {other}: it is no update of the record, and was not {done}.", err=True
        )
    if any_bad:
        raise typer.Exit(FAILED)
    if not n:
        fail(
            f"{root} holds a manifest and no update: nothing was {done}. "
            f"{why_empty(read_manifest(root))}",
            NOT_KNOWN,
        )
    if others:
        raise typer.Exit(NOT_KNOWN)


@records.command(
    "import",
    epilog="Examples: medleak records import before.pt after.pt  ·  medleak records import "
    "before.pt after.pt --out runs/mine --round 3 --site hospital-a --schedule n_images=4,lr=0.01",
)
@one_line_errors
@grouped
def import_states(
    ctx: typer.Context,
    before: Annotated[Path, typer.Argument(help="State dict of the model that was sent.")],
    after: Annotated[Path, typer.Argument(help="State dict of the site's, after training.")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Record to write, or to add to.")] = Path(
        "workspace/imported"
    ),
    round: Annotated[int, typer.Option(min=0, help="Of the update.")] = 0,
    site: Annotated[str, typer.Option(help="Of the update.")] = "site-1",
    statement: Statement,
) -> None:
    """Make a record of two state dicts, before and after a site's training.

    Files of torch (read without running their pickle) or safetensors, in the usual forms:
    checkpoints, NVFlare's FL_global_model.pt. Tensors that only the second file lacks are withheld.
    """
    from medleak.custom.networks.weights import read_state, unwrapped
    from medleak.custom.record import (
        Manifest,
        RecordError,
        UpdateInfo,
        begun_now,
        check_site,
        extended,
        read_manifest,
        utc_now,
        write_manifest,
        write_record,
    )
    from medleak.custom.record.tensors import as_arrays, difference

    if statement.base is not None:
        raise ValueError("--base completes a partial update when it is audited: give it there.")
    given = given_of(statement)
    where = f"Round {round}, site {check_site(site)}"
    sent, local = (as_arrays(str(p), unwrapped(read_state(p))) for p in (before, after))
    update = difference(where, local, sent)
    if went := _no_training(update):
        raise RecordError(f"{before}, {after}: {went}")
    info = given.of_info(UpdateInfo(round=round, site=site, time=utc_now()))
    manifest = Manifest(job=f"import of {after.name}", created=begun_now())
    if (out / "manifest.json").exists():
        manifest = read_manifest(out)
    manifest = extended(out, manifest, given.of_manifest(manifest))
    given.require_fitting(manifest)
    write_record(out, info, sent, update, several=True)
    write_manifest(out, manifest)
    typer.echo(f"{where} is recorded in {out}: {len(update)} of {len(sent)} tensors.")
    if coarse := [n for n, v in local.items() if v.dtype.itemsize < sent[n].dtype.itemsize]:
        typer.echo(
            f"medleak: {after} holds {local[coarse[0]].dtype} where {before} has "
            f"{sent[coarse[0]].dtype} ({len(coarse)} tensors): the update is rounded to that. If "
            "the site sent more, an audit of this record finds less than leaked.",
            err=True,
        )


def _no_training(update: "Arrays") -> str:
    """Why what lies between two files is no training; empty where it may be."""
    if not any(value.any() for value in update.values()):
        return "they hold the same weights, so there is no update. Name the site's, after training."
    counters = [v for n, v in update.items() if n.endswith("num_batches_tracked")]
    if any((v < 0).any() for v in counters):
        return "batch norm counts backwards from one to the other: the first must be the earlier."
    return ""


def _print(root: Path, manifest: "Manifest", rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from medleak.filters.registry import declared_text

    table = Table("round", "site", "images", "steps", "batch", "lr", "defences declared")
    for row in rows:
        declared = declared_text(row["defences"]) or "none"
        if mark := row["canaries"]:
            declared += f"; {mark['count']} canaries ({mark['kind']})"
        numbers = ("?" if row[k] is None else row[k] for k in _SHOWN)
        cells = (row["round"], row["site"], *numbers, declared)
        table.add_row(*(Text(str(cell)) for cell in cells))
    typer.echo(
        f"{root}: job {printable(manifest.job)} of {printable(manifest.created)}\n"
        f"{_material(manifest)}, {len(rows)} updates, "
        f"{len(manifest.left_out)} left out by the recorder"
    )
    Console().print(table)


def _material(manifest: "Manifest") -> str:
    """Network and images of a record, as far as it says."""
    model, spec = manifest.model, manifest.input
    network = "network not known" if model is None else printable(model.path)
    if spec is None:
        return f"{network}, images not known"
    size = " x ".join(map(str, spec.spatial_size))
    return f"{network}, images {size} px, {spec.channels} channel(s)"
