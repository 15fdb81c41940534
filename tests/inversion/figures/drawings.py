"""What a drawn figure shows, and accuracies to draw."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

UPDATE = "percentile_gaussian:scope=update"


HOSTILE = [
    "<script>alert(1)</script>",
    "$x_{",
    "$\\frac{1}{2}$",
    "a" * 300,
    "\u05d1\u05d9\u05ea \u05d7\u05d5\u05dc\u05d9\u05dd",
    "_hidden",
    "\u4e2d\u56fd\U0001f3e5",
    "a\nb\x1b[31m|`*",
]


def text_of(figure: Figure) -> str:
    """Everything that is written on a figure."""
    texts = [t for t in figure.findobj(lambda a: hasattr(a, "get_text"))]
    words = "\n".join(t.get_text() for t in texts)  # pyright: ignore[reportAttributeAccessIssue]
    return " ".join(words.split())  # captions are wrapped


def accuracy_line(defence: str, strength: float | None, accuracy: float) -> dict:
    """As `medleak.inversion.results.utility` writes it."""
    limits = {"lower95": accuracy - 0.03, "upper95": min(1.0, accuracy + 0.03)}
    line = {"defence": defence, "strength": strength, "accuracy": accuracy, **limits}
    return {**line, "n": 200, "source": "run"}


def accuracy_lines(strengths=(1, 10, 25)) -> list[dict]:
    noisy = [accuracy_line(UPDATE, s, 0.93 - 0.005 * s) for s in strengths]
    return [accuracy_line("none", None, 0.93), *noisy]


def points(line: Line2D) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in np.asarray(line.get_xydata())]


def curve_of(figure: Figure, site: str, name: str):
    (axes,) = [a for a in figure.axes if a.get_title() == site]
    (line,) = [x for x in axes.get_lines() if x.get_label() == name]
    return axes, line
