"""How all figures look and how they are written: sizes, palette, captions, bare files."""

import io
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from PIL import Image

from medleak.custom.atomic import write_atomic

Format = Literal["png", "svg", "pdf"]
FORMATS: tuple[Format, ...] = get_args(Format)

# Okabe & Ito, "Color Universal Design" (2008), without its yellow, which is faint on white. Each
# colour comes with a marker and a dash of its own, so that lines differ in gray as well.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1)), (0, (5, 1, 1, 1)))
INK, GRAY = "#1a1a1a", "#5f5f5f"

WIDTH_IN = 6.6
"""Of a figure in inches: a column of text; at 110 dpi 726 px."""
DPI = 110
FONT_PT = 8.0
LABEL_CHARACTERS = 28

_CAPTION_PT = 7.0
_CAPTION_CHARACTERS_PER_INCH = 17.5
_LINE_IN = 0.125
_RC: Any = {
    "font.family": ["DejaVu Sans"],
    "font.size": FONT_PT,
    "axes.titlesize": FONT_PT,
    "axes.labelsize": FONT_PT,
    "axes.edgecolor": GRAY,
    "axes.linewidth": 0.6,
    "axes.titlepad": 4.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#ebebeb",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "xtick.labelsize": FONT_PT - 1,
    "ytick.labelsize": FONT_PT - 1,
    "xtick.color": GRAY,
    "ytick.color": GRAY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.0,
    "legend.fontsize": FONT_PT - 0.5,
    "legend.frameon": False,
    "image.interpolation": "nearest",
    "svg.hashsalt": "medleak",
    "text.usetex": False,
    "path.simplify": True,
}


@contextmanager
def house_style() -> Iterator[None]:
    """matplotlib's defaults and this module's settings, for figures made and saved inside."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_RC)
        yield


def new_figure(height_in: float, caption: str, width_in: float = WIDTH_IN) -> Figure:
    """An empty figure with ``caption`` below ``height_in`` inches of room for axes."""
    lines = [
        line
        for paragraph in caption.splitlines()
        for line in textwrap.wrap(paragraph, int(width_in * _CAPTION_CHARACTERS_PER_INCH))
    ]
    below = _LINE_IN * len(lines) + 0.08
    height = height_in + below
    figure = Figure(figsize=(width_in, height), dpi=DPI)
    figure.set_layout_engine(
        "constrained", rect=(0, below / height, 1, 1 - below / height), w_pad=0.05, h_pad=0.05
    )
    figure.text(
        0.01,
        (below - 0.02) / height,
        safe("\n".join(lines)),
        va="top",
        fontsize=_CAPTION_PT,
        color=GRAY,
        linespacing=1.25,
    )
    return figure


def label(text: str, longest: int = LABEL_CHARACTERS) -> str:
    """``text`` of a record, which may be a stranger's, as one short line of plain glyphs."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if len(line) > longest:
        line = f"{line[: longest - 5]}…{line[-4:]}"
    # matplotlib leaves labels that begin with an underscore out of legends.
    return safe(f" {line}" if line.startswith("_") else line)


def safe(text: str) -> str:
    """``text`` without what matplotlib would obey: no mathematics, no glyph that the font lacks."""
    glyphs = _glyphs()
    shown = "".join(c if c == "\n" or ord(c) in glyphs else "□" for c in text)
    return shown.replace("$", r"\$")


def line_style(index: int) -> dict[str, Any]:
    """Colour, marker and dash of series ``index``; no two of the first ten look alike in gray."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": DASHES[index % len(DASHES)],
    }


def band(
    axes: Axes, x: Sequence[float], low: Sequence[float], high: Sequence[float], colour: str
) -> None:
    """Intervals at ``x``; NaN limits leave a gap, and a lone interval is seen as a bar."""
    axes.fill_between(x, low, high, color=colour, alpha=0.22, linewidth=0)
    axes.vlines(x, low, high, color=colour, alpha=0.6, linewidth=1.0)


def picture_axes(axes: Axes, title: str = "", note: str = "") -> None:
    """Make ``axes`` a frame for a picture: no ticks; ``title`` above and ``note`` below."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if title:
        axes.set_title(title)
    if note:
        axes.set_xlabel(note, fontsize=FONT_PT - 1, color=GRAY, labelpad=2)


def show_picture(axes: Axes, picture: np.ndarray) -> None:
    """Show uint8 [H, W] or [H, W, 3] as it is: no smoothing, no stretching of its range."""
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest", aspect="equal")


def strength_axis(axes: Axes, values: Sequence[float]) -> None:
    """Scale the x axis for strengths that may include 0 and span decades; ticks at ``values``."""
    distinct = sorted(set(values))
    positive = [v for v in distinct if v > 0]
    if len(distinct) > 2 and positive and positive[-1] / positive[0] > 3:
        axes.set_xscale("symlog", linthresh=positive[0], linscale=0.6)
    scale = axes.xaxis.get_transform()
    ends = scale.transform(np.array([distinct[0], distinct[-1]]))
    margin = 0.06 * (ends[1] - ends[0]) or 0.5
    axes.set_xlim(
        *(float(v) for v in scale.inverted().transform(ends + np.array([-margin, margin])))
    )
    ticks = _spaced(distinct, axes)
    axes.set_xticks(ticks, [f"{v:g}" for v in ticks])
    axes.xaxis.set_minor_locator(NullLocator())


def save(figure: Figure, path: Path) -> None:
    """Write ``figure`` as PNG, SVG or PDF by the suffix, with no date, program or user inside.

    The same figure gives the same bytes.

    Raises:
        ValueError: Another suffix.
        OSError: The disk refuses it; an old file stays.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise ValueError(
            f"{str(path)!r} ends in {path.suffix!r}: figures are written as {', '.join(FORMATS)}. "
            "Choose one of these suffixes."
        )
    data = io.BytesIO()
    with house_style():
        figure.savefig(data, format=kind, metadata=_NO_METADATA[kind])
    write_atomic(path, _smaller(data) if kind == "png" else data.getvalue())


_NO_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Creator": None, "Date": None, "Format": None, "Type": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
}


def _smaller(data: io.BytesIO) -> bytes:
    """The same picture in a smaller file: as gray where it is gray, else in 256 colours."""
    drawn = Image.open(data).convert("RGB")
    gray = drawn.convert("L")
    if np.array_equal(np.asarray(gray.convert("RGB")), np.asarray(drawn)):
        drawn = gray
    else:
        drawn = drawn.quantize(256, kmeans=1, dither=Image.Dither.NONE)
    small = io.BytesIO()
    drawn.save(small, format="PNG", optimize=True)
    return small.getvalue()


def _spaced(values: Sequence[float], axes: Axes) -> list[float]:
    """Those of ``values`` that leave room for their numbers, the first and the last in any case."""
    place = axes.xaxis.get_transform().transform
    low, high = (float(place(v)) for v in (values[0], values[-1]))
    gap = 0.11 * (high - low)
    kept = [values[0]]
    for value in values[1:-1]:
        at = float(place(value))
        if at - float(place(kept[-1])) >= gap and high - at >= gap:
            kept.append(value)
    return kept + ([values[-1]] if len(values) > 1 else [])


@cache
def _glyphs() -> frozenset[int]:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return frozenset(get_font(findfont(FontProperties(family="DejaVu Sans"))).get_charmap())
