"""``medleak reproduce``: the tables and figures of two papers on the data at hand."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from medleak.filters.imports import uncollected
from medleak.inversion.cli.shared.errors import one_line_errors
from medleak.inversion.cli.shared.grouped import grouped
from medleak.inversion.cli.shared.options import (
    DeviceOption,
    ThreadsOption,
    Workers,
    chosen_device,
)

Paper = Literal["tmi2023", "medpfl"]


@one_line_errors
@grouped
def reproduce(
    ctx: typer.Context,
    paper: Annotated[Paper, typer.Argument(help="tmi2023 or medpfl.")],
    *,
    run: Annotated[
        Path | None,
        typer.Option(help="tmi2023: a recorded run to audit. Default: small clients made here."),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            help="Set with a folder a class, to train clients on; for medpfl repeatable. "
            "Default: phantoms."
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="Initial ResNet-18 (.safetensors), also for IIP maps. Default: random."),
    ] = None,
    prior: Annotated[
        Path | None, typer.Option(help="With --run: PNG, see medleak prior. Default: phantoms.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Default: workspace/<paper>.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Tiny and short of time: to see that all of it works.")
    ] = False,
    site: Annotated[
        list[str] | None, typer.Option(help="With --run: audit this one; may be repeated.")
    ] = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = 1,
    workers: Workers,
) -> None:
    """Measure what a paper measured, on the data at hand, and set its numbers beside these.

    Writes audits, figures and a markdown report that also says what cannot be had and why. Stopped,
    the same command goes on where it was.

    Examples: medleak reproduce tmi2023 --quick
    · medleak reproduce tmi2023 --run simulator_workspace --prior prior.png
    · medleak reproduce medpfl --data cxr --data melanoma --data brain_mri
    """
    with uncollected():
        import torch

        from medleak.inversion.measures.embedding import load_embedding
        from medleak.inversion.reproduce import medpfl, tmi2023
        from medleak.inversion.reproduce.experiment import FULL, QUICK, Place

    torch.set_num_threads(threads)
    if run is not None and (data or paper == "medpfl"):
        raise ValueError(
            "--run is a federation, for tmi2023, in the place of --data: clients would be made of "
            "two sources. Leave one of them out."
        )
    for name, given in (("--site", site), ("--prior", prior)):
        if given and run is None:
            raise ValueError(f"{name} goes with a run, and there is none: give --run as well.")
    if weights is not None:
        load_embedding(str(weights))  # refused before anything is trained
    with workers.at_work(device, threads) as (jobs, cluster):
        place = Place(
            out=out or Path("workspace") / paper,
            scale=QUICK if quick else FULL,
            say=lambda line: typer.echo(line, err=True),
            embedding=weights,
            sites=site or None,
            device=chosen_device(device),
            jobs=jobs,
            cluster=cluster,
        )
        if paper == "medpfl":
            report = medpfl.reproduce(place, data or (), weights)
        elif data and len(data) > 1:
            raise ValueError("tmi2023 takes one set: name one --data, or a --run.")
        else:
            subject = tmi2023.subject_of(place, run, data[0] if data else None, weights, prior)
            report = tmi2023.reproduce(place, subject)
    typer.echo(str(report))
