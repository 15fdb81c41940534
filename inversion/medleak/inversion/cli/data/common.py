"""What the commands of ``medleak data`` share: options, checks, and what they say at the end."""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from medleak.custom.data.folders.reading import Found
    from medleak.custom.datasets.dataset import DataSet

PLACE = Path("workspace") / "data"
NOT_DECODED = "not decoded (--no-check)"

FolderOption = Annotated[
    Path | None,
    typer.Option("--out", "-o", show_default=False, help="Folder; default: workspace/data/NAME."),
]
SeedOption = Annotated[int, typer.Option(help="Of the split: equal seeds, equal lists.")]
TableOption = Annotated[
    str | None,
    typer.Option(
        show_default=False,
        help="Sites as name:batch_size:training:validation,…; default: the set's, or TMI Table II.",
    ),
]
ScaleOption = Annotated[
    float | None,
    typer.Option(
        show_default=False, help="Share of the table's numbers; default: the largest that fits."
    ),
]
TestOption = Annotated[
    int | None,
    typer.Option(
        min=0, show_default=False, help="Test images; default: the paper's, or a validation list's."
    ),
]
AllowNameOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="A name (of a class, a site, the folder) that you looked at and that is no patient's; "
        "may be repeated.",
    ),
]
CheckOption = Annotated[bool, typer.Option("--check/--no-check", help="Decode every image once.")]
WindowOption = Annotated[
    str | None,
    typer.Option(metavar="BLACK:WHITE", show_default=False, help="Gray values, such as 0:4095."),
]


def parse_window(text: str) -> tuple[float, float]:
    """The two values of ``BLACK:WHITE``."""
    black, _, white = text.partition(":")
    try:
        return float(black), float(white)
    except ValueError:
        raise ValueError(
            f"--window {text!r} is no pair of numbers: black and white would be unknown. Write "
            "BLACK:WHITE, such as 0:4095."
        ) from None


def say_left_out(left_out: Mapping[str, int], where: str) -> None:
    """Say on the error stream how many files or entries of ``where`` are in no list, and why."""
    if left_out:
        typer.echo(f"medleak: not used of {where}: {counted(left_out)}.", err=True)


def counted(left_out: Mapping[str, int]) -> str:
    """Reasons with their numbers, as one text."""
    return ", ".join(f"{n} {reason}" for reason, n in sorted(left_out.items()))


def report_lists(
    out: Path,
    description: dict[str, Any],
    known: "DataSet | None",
    as_json: bool,
    found: "Found | None" = None,
    *,
    decoded: bool,
    there: Mapping[str, int] | None = None,
) -> None:
    """Say what lists were written to ``out``, how they differ from ``known``, and what is next.

    Args:
        out: Folder of the lists.
        description: As of ``dataset.json``.
        known: The public set; None: the user's own folder.
        as_json: For a program.
        found: How the user's own folder was read.
        decoded: Whether the pixels were looked at.
        there: Images of each class in the folder that was read, broken ones and those beyond a
            limit among them: it is they that are compared with the published numbers.
    """
    published = known.counts if known else {}
    differing = {
        name: {"found": n, "published": published[name]}
        for name, n in (there or {}).items()
        if name in published and n != published[name]
    }
    if as_json:
        content = {"out": str(out), **description, "decoded": decoded, "differs": differing}
        if found is not None:
            content |= {"patients_by": found.patients, "left_out": dict(found.left_out)}
        typer.echo(json.dumps(content, indent=2))
        return
    images = ", ".join(f"{n} {name}" for name, n in description["images"].items())
    told = f" ({found.patients})" if found is not None else ""
    unseen = "" if decoded else f"; {NOT_DECODED}"
    who = f"{description['patients']} patients{told}"
    typer.echo(f"{out}: {description['name']}, {images}, {who}{unseen}")
    if found is not None and found.left_out:
        typer.echo(f"not used: {counted(found.left_out)}")
    for name, counts in differing.items():
        typer.echo(
            f"{name}: {counts['found']} images here, {counts['published']} published: another "
            "version, or a part."
        )
    if description["licence"]:
        typer.echo(f"licence: {description['licence']} ({description['source']})")
    if "public" in description:
        typer.echo(
            f"next: medleak prior --data {shlex.quote(str(out / 'public.json'))} -o prior.png"
        )
        return
    for site, counts in description["sites"].items():
        typer.echo(f"{site}: {counts['training']} training, {counts['validation']} validation")
    typer.echo(
        f"test: {description['test']}; scale {description['scale']:g} of the table\n"
        f"next: MEDLEAK_DATA={shlex.quote(str(out))} {_job_command(description, known)}"
    )


_JOBS = {"fundus": "fundus_clean", "dermoscopy": "medpfl_fedsgd", "masks": "brain_unet"}


def _job(kind: str, classes: Sequence[str]) -> list[str]:
    """What ``jobs/job.py`` takes to train on images of these classes."""
    return [_JOBS.get(kind, "cxr_clean"), "--classes", *classes]


def _job_command(description: Mapping[str, Any], known: "DataSet | None") -> str:
    """The command of a job that has the classes and sites of the lists; others refuse them."""
    from medleak.custom.sites.split import TMI_TABLE_II, parse_table

    if known:
        words = shlex.split(known.job)
    else:
        words = _job("" if not description["masks"] else "masks", description["classes"])
    table = parse_table(description["table"])
    usual = known.table if known else () if description["masks"] else TMI_TABLE_II
    if [(s.name, s.batch_size) for s in table] != [(s.name, s.batch_size) for s in usual]:
        words += ["--table", description["table"]]
    return shlex.join(["python", "jobs/job.py", *words])


def report_images(
    out: Path,
    modality: str,
    n: int,
    classes: Sequence[str],
    as_json: bool,
    licence: str = "",
    masks: bool = False,
    left_out: Mapping[str, int] | None = None,
    counts: Mapping[str, int] | None = None,
) -> None:
    """Say what images were written to ``out``, with or without ``masks``, and what is next.

    ``left_out``: files of the source that are not among them, by reason. ``counts``: more numbers
    for a program; of images ``without_patient_id`` a reader is told, too.
    """
    if as_json:
        content = {
            "out": str(out),
            "images": n,
            "modality": modality,
            "classes": list(classes),
            "licence": licence,
        }
        content |= {} if left_out is None else {"left_out": dict(left_out)}
        content |= counts or {}
        typer.echo(json.dumps(content, indent=2))
        return
    typer.echo(f"{out}: {n} images of {', '.join(classes)}")
    if left_out:
        typer.echo(f"not used: {counted(left_out)}")
    if nobodys := (counts or {}).get("without_patient_id"):
        typer.echo(f"{nobodys:,} state no patient: each counts as a patient of its own")
    if licence:
        typer.echo(f"licence: {licence}")
    place = shlex.quote(str(out))
    table = _table_for(n, len(classes))
    if table is None:
        typer.echo("next: more images: these are too few to be split over two sites")
        return
    job = _job("masks" if masks else modality, classes) + table
    lists = [*(["--masks"] if masks else []), *table]
    typer.echo(
        f"next: MEDLEAK_DATA={place} {shlex.join(['python', 'jobs/job.py', *job])}\n"
        f"or, for lists of each site: {shlex.join(['medleak', 'data', 'folder', str(out), *lists])}"
    )


_TWO_SITES = "a:4:8:2,b:4:8:2"


def _table_for(n: int, num_classes: int) -> list[str] | None:
    """The option by which ``n`` images can be split; [] is the usual table, None: none can be.

    Half as many again as are needed, since the images of a patient stay together.
    """
    from medleak.custom.sites.split import TMI_TABLE_II, images_needed, parse_table, scaled

    for option, table in (
        ([], TMI_TABLE_II),
        (["--table", _TWO_SITES], parse_table(_TWO_SITES)),
    ):
        if n >= 1.5 * images_needed(scaled(table, 0.01, max(num_classes, 1))):
            return option
    return None
