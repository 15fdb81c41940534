"""Figures and the table of an audit: one function each, light enough to read and to print."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from medleak.inversion.figures.audit_data import AuditData, MissingData
from medleak.inversion.figures.embeddings import Embed, embedding_map
from medleak.inversion.figures.leakage import iip_by_strength, rdlv_by_strength
from medleak.inversion.figures.pictures import (
    attacks_compared,
    iteration_strips,
    noise_levels,
    reconstructions_by_round,
)
from medleak.inversion.figures.roc import members_told
from medleak.inversion.figures.schedule_sweep import ssim_by_schedule
from medleak.inversion.figures.strength_curves import ssim_by_strength
from medleak.inversion.figures.style import Format, house_style, save
from medleak.inversion.figures.table import table
from medleak.inversion.figures.trade_off import privacy_utility

__all__ = ["FIGURES", "AuditData", "Drawn", "MissingData", "draw", "draw_all", "table"]


@dataclass(frozen=True, slots=True)
class Kind:
    """A figure: its maker, and the figures of the papers that show the same."""

    make: Callable[..., Figure]
    published: str


FIGURES: Mapping[str, Kind] = {
    "rounds": Kind(reconstructions_by_round, "TMI Fig. 4, 5"),
    "attacks": Kind(attacks_compared, "TMI Fig. 3, MedPFL Fig. 8, 9"),
    "schedule": Kind(ssim_by_schedule, "TMI Fig. 6a, b"),
    "ssim": Kind(ssim_by_strength, "TMI Fig. 6c"),
    "rdlv": Kind(rdlv_by_strength, "TMI Fig. 8, 9"),
    "embeddings": Kind(embedding_map, "TMI Fig. 10"),
    "iip": Kind(iip_by_strength, "TMI Fig. 11"),
    "iterations": Kind(iteration_strips, "MedPFL Fig. 5-7"),
    "noise": Kind(noise_levels, "MedPFL Fig. 10, 11"),
    "front": Kind(privacy_utility, "-"),
    "roc": Kind(members_told, "-"),
}


@dataclass(frozen=True, slots=True)
class Drawn:
    """What became of a figure: the file, or why there is none."""

    name: str
    path: Path | None
    missing: str | None = None


def draw(name: str, audit: AuditData, **options: Any) -> Figure:
    """The figure ``name`` of ``audit``; options as its maker in `FIGURES` takes them.

    Raises:
        ValueError: There is no figure of that name.
        MissingData: The audit lacks what it shows.
    """
    if name not in FIGURES:
        raise ValueError(
            f"There is no figure {name!r}: nothing can be drawn. Known are {', '.join(FIGURES)}."
        )
    if not audit.rows and name != "roc":
        raise audit.missing("rows of attacked updates", "medleak audit RUN")
    with house_style():
        return FIGURES[name].make(audit, **options)


def draw_all(
    audit: AuditData,
    out: Path,
    names: Sequence[str] = (),
    suffix: Format = "png",
    embed: Embed | None = None,
) -> Iterator[Drawn]:
    """Draw the figures ``names`` (all, if empty) into ``out``, going on where data is missing.

    Args:
        audit: What to draw.
        out: Folder for ``<name>.<suffix>``; made where it is not.
        names: Keys of `FIGURES`.
        suffix: Format of the files.
        embed: Network for the figure ``embeddings``.

    Yields:
        What became of each figure, when its file is written.

    Raises:
        ValueError: A name is unknown, or a file of the audit is damaged.
        OSError: The disk refuses a file.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name in names or FIGURES:
        options = {"embed": embed} if name == "embeddings" else {}
        try:
            figure = draw(name, audit, **options)
        except MissingData as error:
            yield Drawn(name, None, str(error))
            continue
        path = out / f"{name}.{suffix}"
        save(figure, path)
        yield Drawn(name, path)
