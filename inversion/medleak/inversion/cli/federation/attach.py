"""``medleak attach``: put the recorder, and filters, into a job that nobody here wrote."""

import json
from pathlib import Path
from typing import Annotated

import typer

from medleak.inversion.cli.shared.errors import one_line_errors
from medleak.inversion.cli.shared.options import JsonOption
from medleak.inversion.cli.shared.output import printable


@one_line_errors
def attach(
    ctx: typer.Context,
    job: Annotated[Path, typer.Argument(help="An exported job folder: JSON, HOCON or YAML.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The new job folder.")],
    defence: Annotated[
        str | None,
        typer.Option(help="Filters of the sites, as name:key=value,…; default: record only."),
    ] = None,
    task: Annotated[
        str | None, typer.Option(metavar="LOSS:OUTPUTS", help="The training loss, e.g. bce:14.")
    ] = None,
    input: Annotated[str | None, typer.Option(metavar="HxWxC", help="An image.")] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="PATH[:KEY=VALUE,…]", help="The network, if the job does not say."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Copy a job with medleak's recorder in it, and say what was found and what will not work.

    The job's own code stays as it is. Where recorder or filters would never be called (Flower,
    swarm), the job is refused with the reason.

    Examples: medleak attach hello-pt -o hello-pt-recorded
    · medleak attach JOB -o NEW --task cross_entropy:10 --input 32x32x3
    · medleak attach JOB -o NEW --defence percentile_gaussian:sigma0=10
    """
    from medleak.custom.attach import attach_folder
    from medleak.custom.record.texts import input_of, model_of, task_of

    done = attach_folder(
        job,
        out,
        defence_text=defence,
        task=task_of(task) if task else None,
        input=input_of(input) if input else None,
        model=model_of(model) if model else None,
    )
    if as_json:
        content = {"out": str(out), "found": list(done.found), "unknown": list(done.unknown)}
        typer.echo(json.dumps(content, indent=2))
        return
    for line in done.found:
        typer.echo(f"{printable(line)}.")
    if done.unknown:
        typer.echo(f"To be said when the run is audited: {', '.join(done.unknown)}.")
    typer.echo(f"New job: {out}")
