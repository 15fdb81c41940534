"""``medleak attach``: put the recorder, and filters, into a job that nobody here wrote."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medleak.inversion.cli.shared.errors import FAILED, NOT_KNOWN, fail, one_line_errors
from medleak.inversion.cli.shared.options import JsonOption
from medleak.inversion.cli.shared.output import printable

if TYPE_CHECKING:
    from medleak.custom.attach import Attached, Checked

_CODES: Mapping[str, int] = {"fails": FAILED, "not known": NOT_KNOWN}
_WORDS: Mapping[str, str] = {
    "fails": "The job would not start, or its updates would not be recorded: see the check. "
    "Correct the job, or {out}, before a federation runs it.",
    "not known": "Whether {out} records could not be tried, or not wholly: see the check.",
}


@one_line_errors
def attach(
    ctx: typer.Context,
    job: Annotated[Path, typer.Argument(help="An exported job: JSON, HOCON or YAML.")],
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
    check: Annotated[
        bool,
        typer.Option("--check", help="Build the new job and send made-up weights through it."),
    ] = False,
    allow_model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PREFIX",
            help="Of --check: run this code of the job here, e.g. model. for its model.py.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Copy a job with medleak's recorder in it, and say what was found and what will not work.

    The job's own code stays as it is. Where recorder or filters would never be called (Flower, the
    filters of a swarm), the job is refused with the reason. --check then builds server and sites as
    NVFlare does and sends made-up weights through filters and recorder; no training runs. Exit code
    1 where nothing would be recorded, 3 where that could not be tried.

    Examples: medleak attach hello-pt -o hello-pt-recorded
    · medleak attach JOB -o NEW --task cross_entropy:10 --input 32x32x3
    · medleak attach JOB -o NEW --defence percentile_gaussian:sigma0=10
    · medleak attach JOB -o NEW --check --allow-model model.
    """
    from medleak.custom.attach import attach_folder, check_folder
    from medleak.custom.record.texts import input_of, model_of, task_of

    if allow_model and not check:
        raise ValueError("--allow-model runs code of the job, which --check alone does: add it.")
    done = attach_folder(
        job,
        out,
        defence_text=defence,
        task=task_of(task) if task else None,
        input=input_of(input) if input else None,
        model=model_of(model) if model else None,
    )
    checked = check_folder(out, allow=_granted(allow_model or [])) if check else None
    if as_json:
        content: dict[str, Any] = {
            "out": str(out),
            "found": list(done.found),
            "unknown": list(done.unknown),
            "options": list(done.options),
        }
        if checked is not None:
            content["check"] = {"verdict": checked.verdict, "seen": list(checked.seen)}
        typer.echo(json.dumps(content, indent=2))
    else:
        _print(done, checked, out)
    if checked is not None and checked.verdict != "works":
        fail(_WORDS[checked.verdict].format(out=out), _CODES[checked.verdict])


def _granted(prefixes: Sequence[str]) -> list[str]:
    """As of ``medleak audit``: a prefix without its dot means the name and what lies under it."""
    return [q for p in prefixes for q in ((p,) if p.endswith(".") else (p, f"{p}."))]


def _print(done: "Attached", checked: "Checked | None", out: Path) -> None:
    for line in done.found:
        typer.echo(f"{printable(line)}.")
    if done.unknown:
        typer.echo(f"To be said when the run is audited: {', '.join(done.unknown)}.")
    typer.echo(f"New job: {out}\nWhen it has run: medleak audit RUN {' '.join(done.options)}")
    if checked is not None:
        typer.echo("\nCheck with made-up weights:")
        for line in checked.seen:
            typer.echo(f"- {printable(line)}")
        typer.echo(f"Recording: {checked.verdict}.")
