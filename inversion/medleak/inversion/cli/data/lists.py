"""``medleak data``: from images to the lists that jobs read, with nothing but pixels on the way."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medleak.inversion.cli.data.common import (
    NOT_DECODED,
    PLACE,
    AllowNameOption,
    CheckOption,
    FolderOption,
    ScaleOption,
    SeedOption,
    TableOption,
    TestOption,
    WindowOption,
    parse_window,
    report_lists,
    say_left_out,
)
from medleak.inversion.cli.data.folder import Arrangement, guard_images, refuse_inside
from medleak.inversion.cli.data.images import images
from medleak.inversion.cli.data.looking import (
    SkipOption,
    decode_all,
    left_out_if,
    progress,
    say_broken,
)
from medleak.inversion.cli.shared.errors import NothingExamined, one_line_errors
from medleak.inversion.cli.shared.grouped import grouped
from medleak.inversion.cli.shared.options import JsonOption

if TYPE_CHECKING:
    from medleak.custom.data.datalist import Item
    from medleak.custom.datasets.convert import Broken
    from medleak.custom.datasets.prepare import Content

data = typer.Typer(
    name="data",
    help="Turn images into per-site lists that jobs read: public sets, folders, DICOM, phantoms.",
    no_args_is_help=True,
)
data.add_typer(images)


@data.command("list", epilog="Examples: medleak data list  ·  medleak data list --json")
@one_line_errors
def list_sets(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """List the data sets that are known by name: where from, licence, form."""
    from medleak.custom.datasets.catalogue import overview

    rows = overview()
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        number = f", {row['images']:,} images" if row["images"] else ""
        typer.echo(f"{row['name']}: {row['use']}; {', '.join(row['classes'])}{number}")
        typer.echo(f"    {row['command']}")
        typer.echo(f"    {row['source']}; licence: {row['licence']}")


@data.command(
    "prepare",
    epilog="Examples: medleak data prepare airogs --root AIROGS  ·  medleak data prepare "
    "chestxray14 --root NIH --limit 1000  ·  where to get it: medleak data prepare airogs",
)
@one_line_errors
def prepare_set(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="A set of `medleak data list`.")],
    root: Annotated[
        Path | None,
        typer.Option(show_default=False, help="Where the set was unpacked; none: where to get it."),
    ] = None,
    out: FolderOption = None,
    seed: SeedOption = 0,
    table: TableOption = None,
    scale: ScaleOption = None,
    test: TestOption = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, show_default=False, help="Images of a prior at most; default: all."),
    ] = None,
    check: CheckOption = True,
    skip_broken: SkipOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check a public set's form and counts and split it over sites, by patient where known.

    A count that differs from the published one is said and changes nothing. Sets that serve as an
    attacker's prior become one list, for medleak prior.
    """
    from medleak.custom.atomic import whole_folder
    from medleak.custom.datasets.catalogue import find
    from medleak.custom.datasets.dataset import count, read, require_root
    from medleak.custom.datasets.prepare import DESCRIPTION, Content, choose, prepare_public
    from medleak.custom.sites.split import parse_table

    known = find(name)
    _refuse_ignored(
        known.name, known.prior, {"table": table, "scale": scale, "test": test}, {"limit": limit}
    )
    broken = left_out_if(skip_broken, check)
    out = out or PLACE / known.name
    root = require_root(known, root)
    content = Content(
        name=known.name,
        classes=known.classes,
        modality=known.modality,
        channels=known.channels,
        source=known.source,
        licence=known.licence,
    )
    with whole_folder(out, last=DESCRIPTION) as part:
        here, there = root, root
        if known.unpack is not None and (here := known.unpack(root, part / "images")) != root:
            there = out / "images"
        items = read(known, here, claimed=skip_broken)
        found = count(items, known.classes)
        if known.prior:
            items = choose(items, limit, seed)
            if check:
                items = decode_all(items, here, broken)
            content = replace(content, broken=len(broken or {}))
            description = prepare_public(items, there, out, content, seed=seed, into=part)
        else:
            description = _prepare(
                items,
                here,
                out,
                content,
                check,
                broken,
                root=there,
                into=part,
                table=known.table if table is None else parse_table(table),
                scale=scale,
                seed=seed,
                test=test,
                published_test=known.test,
            )
    say_broken(broken)
    report_lists(out, description, known, as_json, decoded=check, there=found)


@data.command(
    "folder",
    epilog="Examples: medleak data folder scans  ·  medleak data folder scans --classes "
    "normal,pneumonia --patient-pattern '(\\d+)-.*'  ·  medleak data folder mri --masks  ·  "
    "medleak data folder chest_xray --layout parts  ·  medleak data folder images --labels "
    "labels.csv",
)
@one_line_errors
@grouped
def prepare_folder(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(help="One sub-folder of images a class.")],
    *,
    out: FolderOption = None,
    arrangement: Arrangement,
    window: WindowOption = None,
    seed: SeedOption = 0,
    table: TableOption = None,
    scale: ScaleOption = None,
    test: TestOption = None,
    check: CheckOption = True,
    skip_broken: SkipOption = False,
    allow_name: AllowNameOption = None,
    as_json: JsonOption = False,
) -> None:
    """Split any folder of images over sites, all images of a patient to one list of one site.

    A folder that looks otherwise arranged than one sub-folder a class (train/ and test/, images/
    and masks/, patients) is refused, with the option that says how to read it. With --window, gray
    images of more than 8 bits are first rewritten as 8-bit PNG below OUT.
    """
    from medleak.custom.atomic import whole_folder
    from medleak.custom.data.folders.classes import read_folders
    from medleak.custom.data.folders.reading import read_set
    from medleak.custom.datasets.convert import claim_empty, windowed_pictures, write_pictures
    from medleak.custom.datasets.prepare import DESCRIPTION, Content
    from medleak.custom.sites.split import TMI_TABLE_II, parse_table

    told = arrangement.told(claimed=skip_broken)
    broken = left_out_if(skip_broken, check)
    if told.masks and window:
        raise ValueError(
            "--masks and --window exclude each other: a window rewrites images under new names, "
            "and masks would lose theirs. Convert the images first, without --masks."
        )
    out = out or PLACE / folder.resolve().name
    refuse_inside(out, folder, images=window is not None)
    sites = TMI_TABLE_II if table is None else parse_table(table)
    found = read_set(folder, told)
    content = Content(name=folder.resolve().name, classes=found.classes)
    guard_images(found, folder, content.name, [site.name for site in sites], allow_name or ())
    options: dict[str, Any] = {"table": sites, "scale": scale, "seed": seed, "test": test}
    if window:
        claim_empty(out / "images")
        with whole_folder(out, last=DESCRIPTION) as part:
            here = part / "images"
            pictures = windowed_pictures(
                found.items, found.classes, folder, parse_window(window), broken
            )
            with closing(pictures), progress(pictures, len(found.items), "Windowing") as bar:
                write_pictures(bar, here)
            items, _ = read_folders(here, found.classes, told=True)
            options |= {"root": out / "images", "into": part, "broken": broken}
            description = _prepare(items, here, out, content, check, **options)
    else:
        description = _prepare(found.items, folder, out, content, check, broken=broken, **options)
    say_broken(broken)
    report_lists(out, description, None, as_json, found, decoded=check)


@data.command(
    "check",
    epilog="Examples: medleak data check site-1.json site-2.json  ·  medleak data check workspace/"
    "data/scans  ·  medleak data check own.json --data-root /scans --num-classes 2",
)
@one_line_errors
def check_lists(
    ctx: typer.Context,
    lists: Annotated[
        list[Path], typer.Argument(help="Decathlon-style datalists, one a site, or their folder.")
    ],
    data_root: Annotated[
        Path | None,
        typer.Option(show_default=False, help="Of relative images; default: the list's folder."),
    ] = None,
    num_classes: Annotated[
        int | None, typer.Option(min=1, show_default=False, help="Labels must be below it.")
    ] = None,
    check: CheckOption = True,
    as_json: JsonOption = False,
) -> None:
    """Check datalists: labels, patients in two places, and every image's pixels.

    Exit code 3 where a list names no image: then nothing of it was checked.
    """
    from medleak.custom.data.datalist import read_datalist
    from medleak.custom.datasets.prepare import check_patients, lists_in

    files = [file for path in lists for file in (lists_in(path) if path.is_dir() else [path])]
    read = {str(path): read_datalist(path, data_root, num_classes) for path in files}
    loaded = {site: one.lists for site, one in read.items()}
    check_patients(loaded)
    if check:
        for sections in loaded.values():
            decode_all([item for items in sections.values() for item in items], Path())
    rows = {
        site: {section: len(items) for section, items in sections.items()}
        for site, sections in loaded.items()
    }
    unseen = {
        site: list(_not_examined([i for items in sections.values() for i in items], num_classes))
        for site, sections in loaded.items()
    }
    if not check:
        unseen = {site: [NOT_DECODED, *more] for site, more in unseen.items()}
    if as_json:
        more = {site: {"not_examined": what} for site, what in unseen.items() if what}
        typer.echo(json.dumps({s: n | more.get(s, {}) for s, n in rows.items()}, indent=2))
    for site, counts in rows.items():
        counted = ", ".join(f"{n} {section}" for section, n in counts.items())
        if not as_json:
            typer.echo("; ".join([f"{site}: {counted}", *unseen[site]]))
        say_left_out(read[site].left_out, site)
    if empty := [site for site, counts in rows.items() if not any(counts.values())]:
        raise NothingExamined(
            f"{', '.join(empty)} names no image in training, validation and test: nothing of it "
            "was checked. Name the list that the site trains with."
        )


def _not_examined(items: Sequence["Item"], num_classes: int | None) -> Iterator[str]:
    """What of a list's ``items`` could not be compared with anything, and what is missing there."""
    if not items:
        return
    if num_classes is None:
        labels = ", ".join(map(str, sorted({item.label for item in items})))
        yield f"labels {labels}, not compared with a number of classes (--num-classes)"
    # Where no patient is known, it is the file, in lists of `prepare` relative to their root.
    if unknown := sum(f"/{item.image}".endswith(f"/{item.patient}") for item in items):
        yield f"{unknown:,} of {len(items):,} tell no patient and count as one each"
    masked = sum(bool(item.mask) for item in items)
    if 0 < masked < len(items):
        yield f"{len(items) - masked:,} of {len(items):,} have no mask, and a segmentation needs it"
    twice = len(items) - len({os.path.realpath(item.image) for item in items})
    if twice:
        yield f"{twice:,} name an image that another entry names"


def _prepare(
    items: Sequence["Item"],
    here: Path,
    out: Path,
    content: "Content",
    check: bool,
    broken: "Broken | None" = None,
    **options: Any,
) -> dict[str, Any]:
    """`prepare` with its ``options``, after decoding every image where that is asked for.

    Those that cannot be used are put into ``broken``, where that is given. Images are decoded below
    ``here``, and will be below the option ``root`` in the end.
    """
    from medleak.custom.datasets.convert import refuse_lost
    from medleak.custom.datasets.prepare import prepare

    if check:
        before = {item.label for item in items}
        items = decode_all(items, here, broken)
        left = {content.classes[item.label] for item in items}
        refuse_lost([name for k, name in enumerate(content.classes) if k in before], left)
    content = replace(content, broken=len(broken or {}))
    return prepare(items, options.pop("root", here), out, content, **options)


def _refuse_ignored(
    name: str, prior: bool, of_splits: dict[str, Any], of_priors: dict[str, Any]
) -> None:
    """Refuse an option that means nothing for this set, rather than to pass it over."""
    for option, value in (of_splits if prior else of_priors).items():
        if value is not None:
            what = "becomes one list of public images" if prior else "is split over sites"
            raise ValueError(
                f"--{option} means nothing for {name}, which {what}. Leave it out, or name "
                "another set."
            )
