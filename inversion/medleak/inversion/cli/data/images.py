"""``medleak data synthetic``, ``medmnist`` and ``dicom``: commands that write images."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from medleak.inversion.cli.data.common import (
    PLACE,
    AllowNameOption,
    FolderOption,
    WindowOption,
    parse_window,
    report_images,
)
from medleak.inversion.cli.data.looking import SkipOption, progress, say_broken, watch
from medleak.inversion.cli.shared.errors import one_line_errors
from medleak.inversion.cli.shared.options import JsonOption

if TYPE_CHECKING:
    from medleak.custom.datasets.convert import Broken

images = typer.Typer()


@images.command(
    "synthetic",
    epilog="Examples: medleak data synthetic fundus -n 200 --size 224  ·  medleak data synthetic "
    "brain_mri --masks",
)
@one_line_errors
def synthesise(
    ctx: typer.Context,
    modality: Annotated[str, typer.Argument(help="cxr, fundus, brain_mri or dermoscopy.")],
    n: Annotated[int, typer.Option("-n", "--number", min=1, help="Images of all classes.")] = 256,
    size: Annotated[int, typer.Option(min=16, max=4096, help="Height and width in px.")] = 64,
    seed: Annotated[int, typer.Option(help="Another seed is another population.")] = 0,
    masks: Annotated[bool, typer.Option("--masks", help="images/ and masks/ as well.")] = False,
    out: FolderOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw phantoms: made-up images of nobody, one folder a class."""
    from medleak.custom.atomic import whole_folder
    from medleak.custom.data.images import save_image
    from medleak.custom.datasets.convert import claim_empty
    from medleak.custom.phantoms import MODALITIES, listing, phantom

    items = listing(n, seed, modality)
    if masks and not MODALITIES[modality].masks:
        raise ValueError(
            f"{modality} phantoms have no masks. Use one of "
            f"{', '.join(name for name, m in MODALITIES.items() if m.masks)}, or leave --masks out."
        )
    out = out or PLACE / f"synthetic-{modality}"
    claim_empty(out)
    with whole_folder(out) as part:
        for item in items:
            drawn = phantom(modality, item.image, size, seed)
            save_image((part / "images" if masks else part) / item.image, drawn.image)
            if masks and drawn.mask is not None:
                save_image(part / "masks" / item.image, drawn.mask)
    report_images(out, modality, n, MODALITIES[modality].classes, as_json, masks=masks)


@images.command(
    "medmnist",
    epilog="Examples: medleak data medmnist pneumoniamnist --size 64  ·  then: "
    "MEDLEAK_DATA=workspace/data/pneumoniamnist_64 nvflare simulator jobs/cxr_clean",
)
@one_line_errors
def get_medmnist(
    ctx: typer.Context,
    name: Annotated[
        str, typer.Argument(help="pneumoniamnist, chestmnist, retinamnist or dermamnist.")
    ],
    size: Annotated[
        int | None,
        typer.Option(show_default=False, help="Of the download: 64, 128 or 224 px; default: 64."),
    ] = None,
    npz: Annotated[
        Path | None,
        typer.Option(
            show_default=False,
            help="The set's file, where it was downloaded before; images keep its size.",
        ),
    ] = None,
    out: FolderOption = None,
    as_json: JsonOption = False,
) -> None:
    """Download a set of MedMNIST (extra medmnist) and write it as one folder a class."""
    from medleak.custom.datasets.convert import write_pictures
    from medleak.custom.datasets.medmnist import SIZES, download, find, pictures, side_of

    subset = find(name)
    source = npz or download(name, size or SIZES[0], PLACE / "medmnist")
    side = side_of(source, subset)
    if size not in (None, side):
        typer.echo(
            f"medleak: --size {size} was not used: {source} holds images of {side} px, which are "
            "written as they are. Leave --npz out to download another size.",
            err=True,
        )
    out = out or PLACE / f"{name.lower()}_{side}"
    n = write_pictures(pictures(source, subset), out)
    report_images(out, subset.modality, n, subset.classes, as_json, subset.licence)


@images.command(
    "dicom",
    epilog="Examples: medleak data dicom studies -o scans  ·  medleak data dicom ct --window "
    "-1000:400  ·  then: medleak data folder scans",
)
@one_line_errors
def convert_dicom(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(help="DICOM files, one sub-folder a class.")],
    out: FolderOption = None,
    window: WindowOption = None,
    layout: Annotated[
        Literal["classes"] | None,
        typer.Option(
            show_default=False, help="classes: each sub-folder is one, whatever its name."
        ),
    ] = None,
    allow_name: AllowNameOption = None,
    skip_broken: SkipOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write the pixels of DICOM files (extra dicom) as PNG with running numbers for names.

    White is dense whatever the file's photometric interpretation. No value of a header is written
    anywhere; text that was burned into the pixels stays in them. A sub-folder, whose name becomes a
    class's, is refused if any header says that name of a person, an order or a study.
    """
    from medleak.custom.data.folders.dicom_tree import find_dicom
    from medleak.custom.datasets.convert import dicom_pictures, write_pictures

    out = out or PLACE / f"{folder.resolve().name}-png"
    tree = find_dicom(folder, told=layout == "classes")
    broken: Broken | None = {} if skip_broken else None
    without_id: list[Path] = []
    pictures = dicom_pictures(
        tree,
        parse_window(window) if window else None,
        name=out.name,
        allowed=allow_name or (),
        broken=broken,
        without_id=without_id,
    )
    seen, say_odd = watch()
    with closing(pictures), progress(pictures, len(tree.files), "Converting") as bar:
        n = write_pictures(bar, out, seen)
    say_odd()
    say_broken(broken)
    counts = {"broken": len(broken or ()), "without_patient_id": len(without_id)}
    report_images(out, "", n, tree.classes, as_json, left_out=tree.left_out, counts=counts)
