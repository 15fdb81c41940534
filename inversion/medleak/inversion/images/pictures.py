"""Pictures for human eyes: bare reconstructions, and panels that set them beside the truth."""

import io
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional

from medleak.custom.atomic import write_atomic
from medleak.custom.data.image_files import open_image

TILE_PX = 256
_SHEET_ROWS, _SHEET_PX = 33, 4096
_GAP, _MARGIN = 12, 16
_TITLE_PT, _CAPTION_PT, _HEADING_PT = 17, 15, 19
_INK, _GREY, _PAPER = (20, 20, 20), (95, 95, 95), (255, 255, 255)


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """One picture [C, H, W] in [0, 1] with a title above it and a caption below."""

    title: str
    image: Tensor
    caption: str = ""


def to_picture(image: Tensor) -> Image.Image:
    """An image [C, H, W] or a volume [C, H, W, D], in [0, 1], as an 8-bit picture.

    Gray for C = 1, RGB for C = 3, else the channels in gray, one below the other. A volume is shown
    by the three planes through its middle (`planes`).

    Raises:
        ValueError: Other shapes.
    """
    if image.dim() not in (3, 4) or not len(image):
        raise ValueError(
            f"A picture needs [C, H, W] or [C, H, W, D], got {tuple(image.shape)}: pass one image "
            "of the batch."
        )
    shown = image.detach().cpu()
    shown = _gray_or_colour(planes(shown) if image.dim() == 4 else shown)
    pixels = (shown.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def planes(volume: Tensor, share: float = 0.5) -> Tensor:
    """The three planes of ``volume`` [C, H, W, D] through one point, beside each other [C, h, w].

    From the left: rows and columns (axial, for a body with slices along D), columns and slices
    (coronal), rows and slices (sagittal), the last slice on top. What is less high than the others
    has black below.

    Args:
        volume: At least one voxel a side.
        share: Of each side, where the point is, in [0, 1].
    """
    row, column, slice_ = (min(int(share * side), side - 1) for side in volume.shape[1:])
    cut = (
        volume[..., slice_],
        volume[:, row].mT.flip(1),
        volume[:, :, column].mT.flip(1),
    )
    high = max(plane.shape[1] for plane in cut)
    padded = [functional.pad(plane, (0, 0, 0, high - plane.shape[1])) for plane in cut]
    return torch.cat(padded, 2)


def sheet(volume: Tensor) -> Image.Image:
    """`planes` at places evenly spread from end to end, one below the other.

    As many as `sheet_rows` says, which the report's slider moves through.
    """
    rows = sheet_rows(volume.shape)
    shares = [(k + 0.5) / rows for k in range(rows)]
    return to_picture(torch.cat([_gray_or_colour(planes(volume, share)) for share in shares], 1))


def sheet_rows(shape: Sequence[int]) -> int:
    """Rows of the `sheet` of a volume [C, H, W, D]: odd, so that the middle is one of them."""
    channels, *size = shape
    below = 1 if channels in (1, 3) else channels
    most = min(_SHEET_ROWS, max(size), _SHEET_PX // (below * max(size)))
    return max(1, most - (most + 1) % 2)


def sheet_name(picture: str) -> str:
    """Where the `sheet` of the volume in ``picture`` is kept."""
    return f"{picture.removesuffix('.png')}_planes.png"


def _gray_or_colour(shown: Tensor) -> Tensor:
    """Other channels than these, one below the other."""
    return shown if len(shown) in (1, 3) else shown.flatten(0, 1)[None]


def read_picture(path: Path) -> Tensor:
    """A picture of an audit directory, [C, H, W] float32 in [0, 1].

    Raises:
        DataError: It is missing or damaged.
    """
    pixels = np.asarray(open_image(path), dtype=np.float32) / 255
    return torch.from_numpy(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1).copy())


def save_png(path: Path, picture: Image.Image) -> None:
    """Write ``picture`` as PNG, whole or not at all, with pixels and nothing else in the file.

    Raises:
        OSError: The disk refuses it.
    """
    # A new picture from the pixels alone: `Image.info` would carry EXIF and comments along.
    clean = Image.fromarray(np.asarray(picture))
    buffer = io.BytesIO()
    clean.save(buffer, format="PNG")  # `optimize` takes three times as long for a few bytes
    write_atomic(path, buffer.getvalue())


def panel(rows: Sequence[Sequence[Tile]], heading: str = "") -> Image.Image:
    """Rows of tiles on white, images enlarged by a whole factor, without smoothing.

    Interpolation would make a coarse reconstruction look better than it is.

    Args:
        rows: At least one row with one tile; rows may differ in length, images not in size.
        heading: Above all rows; wrapped where it is too long.

    Raises:
        ValueError: No tiles, or images of different sizes.
    """
    sizes = {tuple(t.image.shape[1:]) for row in rows for t in row}
    if len(sizes) != 1:
        raise ValueError(
            f"A panel needs at least one tile and images of one size, got {len(sizes)} sizes "
            f"({', '.join(f'{h} x {w}' for h, w in sorted(sizes)) or 'no tile'}): its tiles are "
            "to be compared with the eye. Give each size a panel of its own."
        )
    height, width = sizes.pop()
    zoom = max(1, round(TILE_PX / max(height, width)))
    cell = max(width * zoom, TILE_PX * 3 // 4)
    full = 2 * _MARGIN + max(map(len, rows)) * (cell + _GAP) - _GAP
    head = _wrap(heading, _font(_HEADING_PT), full - 2 * _MARGIN)
    laid = [_Row.of(row, cell) for row in rows]
    tall = 2 * _MARGIN + _height(head, _HEADING_PT) + (_GAP if head else 0)
    tall += sum(r.height(height * zoom) + _GAP for r in laid) - _GAP
    canvas = Image.new("RGB", (full, tall), _PAPER)
    draw = ImageDraw.Draw(canvas)
    top = _write(draw, head, _MARGIN, _MARGIN, _HEADING_PT, _INK) + (_GAP if head else 0)
    for row in laid:
        for column, tile in enumerate(row.tiles):
            left = _MARGIN + column * (cell + _GAP)
            # Titles stand on the image's upper edge, however many lines their neighbours have.
            missing = row.title_lines - len(row.titles[column])
            start = top + _height([""] * missing, _TITLE_PT)
            _write(draw, row.titles[column], left, start, _TITLE_PT, _INK)
            below = top + _height([""] * row.title_lines, _TITLE_PT)
            picture = to_picture(tile.image).convert("RGB")
            picture = picture.resize((width * zoom, height * zoom), Image.Resampling.NEAREST)
            canvas.paste(picture, (left, below))
            below += height * zoom + 4
            _write(draw, row.captions[column], left, below, _CAPTION_PT, _GREY)
        top += row.height(height * zoom) + _GAP
    return canvas


@dataclass(frozen=True, slots=True)
class _Row:
    tiles: Sequence[Tile]
    titles: list[list[str]]
    captions: list[list[str]]

    @classmethod
    def of(cls, tiles: Sequence[Tile], cell: int) -> "_Row":
        titles = [_wrap(t.title, _font(_TITLE_PT), cell) for t in tiles]
        return cls(tiles, titles, [_wrap(t.caption, _font(_CAPTION_PT), cell) for t in tiles])

    @property
    def title_lines(self) -> int:
        return max(map(len, self.titles))

    def height(self, image: int) -> int:
        captions = max(self.captions, key=len)
        titles = _height([""] * self.title_lines, _TITLE_PT)
        return titles + image + 4 + _height(captions, _CAPTION_PT)


def _font(points: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(points)


class _Wrapper(textwrap.TextWrapper):
    """Breaks at spaces and after ':', ',' or '+', as texts of defences have them."""

    wordsep_re = re.compile(r"(\s+)|(?<=[:,+])")


def _wrap(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    """Lines of at most ``width`` px; a word that is too long for one is cut."""
    lines: list[str] = []
    for paragraph in text.splitlines():
        characters = max(1, len(paragraph))
        found = _Wrapper(characters).wrap(paragraph)
        while characters > 1 and any(font.getlength(line) > width for line in found):
            characters -= 1
            found = _Wrapper(characters).wrap(paragraph)
        lines += found or [""]
    return lines


def _height(lines: Sequence[str], points: int) -> int:
    return len(lines) * (points + 5)


def _write(
    draw: ImageDraw.ImageDraw, lines: list[str], x: int, y: int, points: int, ink: tuple[int, ...]
) -> int:
    for line in lines:
        draw.text((x, y), line, fill=ink, font=_font(points))
        y += points + 5
    return y
