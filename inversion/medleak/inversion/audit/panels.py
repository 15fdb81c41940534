"""The pictures of an audit: attacks on their way, cases beside their truth, audits side by side."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from medleak.inversion.images.pictures import (
    Tile,
    panel,
    read_picture,
    save_png,
    sheet,
    sheet_name,
    to_picture,
)
from medleak.inversion.images.truth import Truth
from medleak.inversion.reconstruction import Progress, ProgressCallback, Reconstruction
from medleak.inversion.results.case import NO_DEFENCE, Case
from medleak.inversion.results.rows import Row

SHOWN = 8
PRIOR_PICTURE = "images/prior.png"
_SEEN = re.compile(r"_seen_.*(?=\.png$)")


def keep_iterations(
    out: Path, case: Case, n: int, then: ProgressCallback | None
) -> ProgressCallback:
    """A callback that writes about ``n`` evenly spread iterations of ``case`` as pictures.

    They are ``images/<case>_<image>_it<iteration>.png`` in the audit directory ``out``. The first
    iteration is among them. An attack that shows no images on its way leaves none.

    Args:
        out: Audit directory.
        case: Its name is the pictures'.
        n: At least 1.
        then: Told of every iteration afterwards.
    """
    kept = 0

    def follow(state: Progress) -> None:
        nonlocal kept
        if state.images is not None and (state.iteration - 1) * n >= kept * state.total:
            kept = state.iteration * n // state.total + 1
            for k, image in enumerate(state.images.detach().cpu().clamp(0, 1)):
                name = f"{case.name}_{k}_it{state.iteration:04d}.png"
                save_png(out / "images" / name, to_picture(image))
        if then is not None:
            then(state)

    return follow


def keep_picture(out: Path, name: str, image: Tensor) -> None:
    """Write ``image`` [C, *size] as the PNG ``name`` of the audit directory ``out``.

    A volume has a `sheet` of planes beside it, written first.

    Raises:
        OSError: The disk refuses a file.
    """
    if image.dim() == 4:
        save_png(out / sheet_name(name), sheet(image))
    save_png(out / name, to_picture(image))


def save_case(
    out: Path,
    case: Case,
    rows: Sequence[Row],
    found: Reconstruction,
    truth: Truth | None,
    seen: Callable[[str], Tensor | None] = lambda _: None,
) -> None:
    """Write the bare reconstructions, the truths they stand for, and the case's panel.

    Args:
        out: Audit directory.
        case: Its name is the panel's.
        rows: Of the case.
        found: What they are about.
        truth: The listed images; None where they are not known.
        seen: A row's ``truth_picture`` -> the image [C, H, W] as the network saw it; None where it
            is the listed one. That one is written beside it.

    Raises:
        OSError: The disk refuses a file.
    """
    for row in rows:
        keep_picture(out, row.picture, found.images[row.reconstruction])
        if truth is None or not row.truth_picture:
            continue
        listed, index = listed_picture(row.truth_picture)
        if not (out / listed).exists():
            keep_picture(out, listed, truth.images[index])
        if (turned := seen(row.truth_picture)) is not None:
            keep_picture(out, row.truth_picture, turned)
    title = "reconstruction"
    if found.ending == "interrupted":
        title += f", interrupted after {found.iterations} iterations"
    save_png(out / "images" / f"{case.name}.png", side_by_side({title: (out, rows)}))


def listed_picture(truth_picture: str) -> tuple[str, int]:
    """The picture of the same truth as it is listed, and its place in the list."""
    listed = _SEEN.sub("", truth_picture)
    return listed, int(Path(listed).stem.rpartition("_")[2])


def side_by_side(columns: Mapping[str, tuple[Path, Sequence[Row]]]) -> Image.Image:
    """A row of tiles a training image: original, prior, and its reconstruction in each column.

    Args:
        columns: Title to (audit directory, rows of one case there). The first column decides which
            images are shown, at most the eight most similar; another column shows beside each the
            reconstruction that was assigned to the same image, if it has one.

    Raises:
        ValueError: No rows, or images of different sizes.
        DataError: A picture of the audit directory is missing or damaged.
    """
    out, first = next(iter(columns.values()))
    if not first:
        raise ValueError("There is no reconstruction to show: no case has been attacked yet.")
    shown = sorted(first, key=lambda row: -1.0 if row.ssim is None else row.ssim, reverse=True)
    rows = [_tiles(row, out, columns) for row in shown[:SHOWN]]
    heading = (
        f"{first[0].site}, round {first[0].round}: {first[0].attack} knowing {first[0].knowledge}"
    )
    for how, what in (("sent under", first[0].declared), ("with", first[0].defence)):
        if what != NO_DEFENCE and len(columns) == 1:
            heading += f"; {how} {what}"
    if len(first) > SHOWN:
        heading += f"; the {SHOWN} most similar of {len(first)} images"
    untitled = [[replace(tile, title="") for tile in row] for row in rows[1:]]
    return panel([rows[0], *untitled], heading)


def _tiles(row: Row, out: Path, columns: Mapping[str, tuple[Path, Sequence[Row]]]) -> list[Tile]:
    tiles = [Tile("prior", read_picture(out / PRIOR_PICTURE), _similarity(row.ssim_prior))]
    if row.truth_picture is not None:
        title = "original" if row.transformation is None else "original as seen"
        note = ", ".join(filter(None, (row.truth_image, row.transformation)))
        tiles.insert(0, Tile(title, read_picture(out / row.truth_picture), note))
    for title, (folder, others) in columns.items():
        match = next((other for other in others if _same_image(other, row)), None)
        if match is not None:
            leak = "" if match.rdlv is None else f"RDLV {match.rdlv:+.2f}"
            notes = (_similarity(match.ssim), leak, "stuck" if match.stuck else "")
            tiles.append(
                Tile(title, read_picture(folder / match.picture), ", ".join(filter(None, notes)))
            )
        else:
            blank = Tile(title, torch.ones_like(tiles[0].image), "no reconstruction of this image")
            tiles.append(blank)
    channels = max(tile.image.shape[0] for tile in tiles)
    return [replace(tile, image=tile.image.expand(channels, -1, -1)) for tile in tiles]


def _same_image(a: Row, b: Row) -> bool:
    if a.truth_image is None:
        return b.truth_image is None and a.reconstruction == b.reconstruction
    return a.truth_image == b.truth_image


def _similarity(value: float | None) -> str:
    return "" if value is None else f"SSIM {value:.3f}"
