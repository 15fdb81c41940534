"""``medleak final-model``: what is left when only the trained model is published?"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from medleak.filters.imports import uncollected
from medleak.inversion.cli.shared.errors import NOT_KNOWN, fail, one_line_errors
from medleak.inversion.cli.shared.grouped import grouped
from medleak.inversion.cli.shared.membership import tell
from medleak.inversion.cli.shared.options import JsonOption, RunArgument, default_prior, records_of
from medleak.inversion.cli.shared.output import printable


@dataclass(frozen=True, slots=True, kw_only=True)
class Lists:
    """Images."""

    candidates: Annotated[
        Path | None, typer.Option(help="Datalist of whom it is asked about, with classes.")
    ] = None
    references: Annotated[
        Path | None,
        typer.Option(
            help="Datalist of public images, in no site's data, that reference models learn from. "
            "Without, membership is not tested."
        ),
    ] = None
    nonmembers: Annotated[
        Path | None,
        typer.Option(
            help="Datalist of other images of nobody's, to compare with. Default: what the sites "
            "held out, by their lists."
        ),
    ] = None
    truth: Annotated[
        Path | None,
        typer.Option(
            help="A folder with <site>.json of every site; to measure only. Default: what "
            "simulated sites left in their run directories."
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """How reference models are trained."""

    initial: Annotated[
        Path | None,
        typer.Option(help="Weights that the federation began with. Default: the network's own."),
    ] = None
    reference_models: Annotated[int, typer.Option(min=3, help="How many.")] = 4
    reference_epochs: Annotated[int, typer.Option(min=1, help="Of each.")] = 10


@one_line_errors
@grouped
def final_model(
    ctx: typer.Context,
    run: RunArgument = None,
    *,
    model: Annotated[
        Path | None,
        typer.Option(
            help="The final model: FL_global_model.pt, a state dict, safetensors. Default: where "
            "NVFlare's server keeps it beside the record."
        ),
    ] = None,
    images: Lists,
    reference: References,
    score: Annotated[str, typer.Option(help="lira or rmia.")] = "lira",
    inversion: Annotated[
        bool, typer.Option("--inversion/--no-inversion", help="Also look for training images.")
    ] = True,
    iterations: Annotated[int, typer.Option(min=1, help="Of the inversion.")] = 300,
    prior: Annotated[
        str | None, typer.Option(help="As of medleak audit: a PNG, gray, or phantoms.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 0,
    allow_model: Annotated[
        list[str] | None,
        typer.Option(metavar="PREFIX", help="Trust model factories of this package."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Audit directory: its report then speaks of the model."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Ask what whoever gets the final model alone can tell of its training images.

    Membership: by how much surer the model is of an image than reference models that are trained
    here on public images (--references). Inversion: images that the model takes for its classes,
    compared with all training images and with as many of nobody's. Not told apart is a result with
    its interval; what was not tested is said.

    Exit code 3 if something was not tested, or is not known.

    Examples: medleak final-model RUN --candidates pool.json --references public.json
    · medleak final-model RUN --model FL_global_model.pt --no-inversion --candidates pool.json
    --references public.json --out workspace/audit
    """
    with uncollected():
        import torch

        from medleak.custom.record import read_manifest
        from medleak.inversion.final_model.inversion import Inversion
        from medleak.inversion.final_model.references import Training
        from medleak.inversion.final_model.run import FILE, Question, answer
        from medleak.inversion.results.files import read_config

    torch.set_num_threads(1)
    records = records_of(run)
    manifest = read_manifest(records)
    channels = manifest.known_input().channels
    if (
        out is not None
        and (there := read_config(out))
        and there.get("record") != manifest.identity()
    ):
        raise ValueError(
            f"{out} is the audit of another run than {records}: its report would not speak of this "
            "model. Name the audit of this run, or another --out."
        )
    training = Training(models=reference.reference_models, epochs=reference.reference_epochs)
    content = answer(
        Question(
            records=records,
            model=model,
            candidates=images.candidates,
            references=images.references,
            nonmembers=images.nonmembers,
            truth=images.truth,
            initial=reference.initial,
            score=score,
            training=training,
            inversion=Inversion(iterations=iterations) if inversion else None,
            prior=prior or default_prior(channels),
            seed=seed,
            allowed_prefixes=tuple(allow_model or ()),
        )
    )
    if out is not None:
        _write(out / FILE, content)
    if as_json:
        typer.echo(json.dumps(content, indent=2))
    else:
        if (members := content.get("membership")) is not None:
            tell("final model, membership", members)
        if (found := content.get("inversion")) is not None:
            typer.echo(f"final model, inversion: {printable(found['verdict'])}")
    for one in content["not_tested"]:
        typer.echo(f"medleak: not tested: {one['what']}: {printable(one['why'])}", err=True)
    if content["not_tested"] or not _known(content):
        fail("Not everything is known; see above.", NOT_KNOWN)


def _known(content: dict[str, Any]) -> bool:
    kinds = {
        str(content.get(k, {}).get(v))
        for k, v in (("membership", "verdict_kind"), ("inversion", "kind"))
    }
    return not kinds & {"inconclusive", "not_measured", "not known", "None"}


def _write(path: Path, content: dict[str, Any]) -> None:
    from medleak.custom.atomic import write_atomic

    write_atomic(path, json.dumps(content, indent=1).encode() + b"\n")
