"""How a user says what a folder of images is: the options of ``medleak data folder``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from medleak.custom.data.folders.reading import Found, Told

# As `folders.reading.Layout`: to import that would take a while.
Layout = Literal["classes", "parts", "names"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """What lies where in the folder."""

    classes: Annotated[
        str | None,
        typer.Option(show_default=False, help="Label order, by commas; default: all, sorted."),
    ] = None
    masks: Annotated[
        bool,
        typer.Option(
            "--masks", help="images/ and masks/ in FOLDER, or in each class, for segmentation."
        ),
    ] = False
    layout: Annotated[
        Layout | None,
        typer.Option(
            show_default=False,
            help="classes: each sub-folder is one, whatever its name. parts: train/, val/, test/ "
            "with the classes in each; all are split anew. names: class_0001.png.",
        ),
    ] = None
    labels: Annotated[
        Path | None,
        typer.Option(
            show_default=False, help="CSV file with the class of each image below FOLDER."
        ),
    ] = None
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="image=A,label=B,patient=C",
            show_default=False,
            help="Columns of --labels; default: by their usual names.",
        ),
    ] = None
    patients: Annotated[
        Literal["folder", "file"] | None,
        typer.Option(
            show_default=False,
            help="folder: the sub-folder of a class is a patient. file: each file is one. "
            "Default: by file name.",
        ),
    ] = None
    patient_pattern: Annotated[
        str | None,
        typer.Option(
            show_default=False, help="Regular expression for file names; group 1 is the patient."
        ),
    ] = None
    leave_out: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Folder or file to leave out, * for any text; may be repeated."
        ),
    ] = None

    def told(self, *, claimed: bool = False) -> "Told":
        """What the options say, as the reader takes it; ``claimed`` as of its `Told`."""
        from medleak.custom.data.folders.reading import Told
        from medleak.custom.data.folders.table import parse_columns

        return Told(
            layout=self.layout,
            classes=[n.strip() for n in self.classes.split(",")] if self.classes else None,
            masks=self.masks,
            labels=self.labels,
            columns=parse_columns(self.columns) if self.columns else None,
            patients=self.patients,
            pattern=self.patient_pattern,
            leave_out=self.leave_out or (),
            claimed=claimed,
        )


def refuse_inside(out: Path, folder: Path, images: bool = False) -> None:
    """Refuse to write below the folder that is read, or into it where ``images`` are written.

    Lists in the folder itself are no sub-folder, so they are taken for no class.

    Raises:
        ValueError: What is written would be taken for a class the next time.
    """
    inside, around = out.resolve(), folder.resolve()
    if (images or inside != around) and inside.is_relative_to(around):
        where = "is the folder that is read" if inside == around else f"lies inside {str(folder)!r}"
        raise ValueError(
            f"--out {str(out)!r} {where}: what is written there would be taken "
            "for images of a class the next time. Name a folder elsewhere by --out."
        )


def guard_images(
    found: "Found", root: Path, name: str, sites: Sequence[str], allowed: Sequence[str]
) -> None:
    """Refuse names that leave the site and are in a file's name or in the text beside its pixels.

    Raises:
        DataError: See `medleak.custom.identity.guard`.
    """
    from medleak.custom.identity.guard import Guard, Leaving
    from medleak.custom.identity.image_texts import values_of

    leaving = Leaving(classes=found.classes, name=name, sites=sites, allowed=allowed)
    guard = Guard(leaving)
    for number, item in enumerate(found.items, start=1):
        if item.patient != item.image:
            guard.see_patient(item.patient, found.classes[item.label], number)
        for file in filter(None, (item.image, item.mask)):
            guard.see(values_of(root / file), found.classes[item.label], number)
