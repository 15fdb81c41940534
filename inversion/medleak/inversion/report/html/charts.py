"""Curves as records: what is drawn, where each mark stands, and the table that says the same."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from medleak.inversion.report.texts import short

WIDTH, HEIGHT = 640, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 14, 46
_LETTER = 6.0  # mean width of a letter of 12 px
MOST_SERIES = 9
"""More curves in one picture cannot be told apart; the table has them all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A value ``y`` with its 95 % interval at ``x``; ``text`` is what hovering adds."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One curve; ``joined`` is False for marks without a line, ``band`` shades the intervals."""

    name: str
    points: Sequence[Point]
    joined: bool = True
    band: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A picture of curves over a common axis.

    Attributes:
        ticks: Places on the x axis and what stands there.
        zero: Draw the line y = 0 strongly, and call it so.
        floor: Both axes are logarithmic, and what is below it, above 0, is drawn there; 0: linear.
        says: The picture in one sentence, for those who do not see it.
    """

    key: str
    title: str
    x_label: str
    y_label: str
    ticks: Sequence[tuple[float, str]]
    series: Sequence[Series]
    says: str
    zero: str = ""
    note: str = ""
    floor: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A point on the canvas: its shape is its series', so that colour is not needed."""

    x: float
    y: float
    low: float | None
    high: float | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A series on the canvas; ``style`` in 0 … `MOST_SERIES` - 1 is its colour, dash and shape."""

    name: str
    style: int
    path: str
    marks: Sequence[Mark]
    band: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A chart on a canvas of `WIDTH` by `HEIGHT`."""

    chart: Chart
    curves: Sequence[Curve]
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    zero_y: float | None
    left: float = _LEFT
    right: float = WIDTH - _RIGHT
    top: float = _TOP
    bottom: float = HEIGHT - _BOTTOM
    left_out: int = 0


def draw(chart: Chart) -> Drawing:
    """Lay ``chart`` out; of more than `MOST_SERIES` series those with the highest value are drawn.

    Raises:
        ValueError: No point, or a value that is not finite.
    """
    points = [p for s in chart.series for p in s.points]
    if not points:
        raise ValueError(f"Chart {chart.title!r} has no point: there is nothing to draw.")
    ranked = sorted(chart.series, key=lambda s: -max((p.y for p in s.points), default=-math.inf))
    drawn = set(map(id, ranked[:MOST_SERIES]))
    series = [s for s in chart.series if id(s) in drawn]
    points = [p for s in series for p in s.points]
    values = [v for p in points for v in (p.y, p.low, p.high) if v is not None]
    steps = _nice([*values, 0.0] if chart.zero else values)
    if chart.floor:
        steps = _decades(chart.floor, max(values))
    xs = [x for x, _ in chart.ticks] + [p.x for p in points]
    x_of = _scale(min(xs), max(xs), _LEFT + 18, WIDTH - _RIGHT - 18, chart.floor)
    y_of = _scale(steps[0], steps[-1], HEIGHT - _BOTTOM, _TOP, chart.floor)
    curves = []
    for style, one in enumerate(series):
        marks = [_mark(p, one.name, x_of, y_of) for p in one.points]
        path = "M" + " L".join(f"{m.x:.1f} {m.y:.1f}" for m in marks)
        shown = one.joined and len(marks) > 1
        band = _band(marks) if one.band else ""
        if one.band:  # bars would only hide it
            marks = [replace(m, low=None, high=None) for m in marks]
        shape = path if shown else ""
        curves.append(Curve(name=one.name, style=style, path=shape, marks=marks, band=band))
    return Drawing(
        chart=chart,
        curves=curves,
        x_ticks=_thinned([(x_of(x), label) for x, label in chart.ticks]),
        y_ticks=[(y_of(v), f"{v:g}") for v in steps],
        zero_y=y_of(0.0) if chart.zero else None,
        left_out=len(chart.series) - len(series),
    )


def _band(marks: Sequence[Mark]) -> str:
    """Around all intervals, there and back; empty where there are none."""
    known = [m for m in marks if m.low is not None and m.high is not None]
    if len(known) < 2:
        return ""
    there = [f"{m.x:.1f} {m.low:.1f}" for m in known]
    back = [f"{m.x:.1f} {m.high:.1f}" for m in reversed(known)]
    return f"M{' L'.join([*there, *back])}Z"


def _mark(point: Point, name: str, x_of: "_Scale", y_of: "_Scale") -> Mark:
    interval = ""
    if point.low is not None and point.high is not None:
        interval = f" (95 % interval {point.low:.3f} to {point.high:.3f})"
    return Mark(
        x=x_of(point.x),
        y=y_of(point.y),
        low=None if point.low is None else y_of(point.low),
        high=None if point.high is None else y_of(point.high),
        text=f"{name}, {point.text}: {point.y:.3f}{interval}",
    )


@dataclass(frozen=True, slots=True)
class _Scale:
    low: float
    span: float
    start: float
    length: float
    floor: float = 0.0

    def __call__(self, value: float) -> float:
        if self.floor:
            value = math.log10(max(value, self.floor))
        return round(self.start + (value - self.low) / self.span * self.length, 1)


def _scale(low: float, high: float, start: float, end: float, floor: float = 0.0) -> _Scale:
    if floor:
        low, high = (math.log10(max(v, floor)) for v in (low, high))
    if high == low:  # a single value stands in the middle
        return _Scale(low - 0.5, 1.0, start, end - start, floor)
    return _Scale(low, high - low, start, end - start, floor)


def _decades(floor: float, highest: float) -> list[float]:
    """Powers of ten from ``floor`` to the first that holds ``highest``."""
    first, last = round(math.log10(floor)), math.ceil(math.log10(max(highest, floor)) - 1e-9)
    return [10.0**k for k in range(first, max(last, first + 1) + 1)]


def _nice(values: Sequence[float]) -> list[float]:
    """About five round steps that hold all values."""
    low, high = min(values), max(values)
    if high - low < 1e-9:
        low, high = low - 0.1, high + 0.1
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(k * step, 10) for k in range(first, last + 1)]


def _thinned(ticks: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """Labels from left to right, without those that would overlap the one before."""
    found: list[tuple[float, str]] = []
    end = -math.inf
    for x, label in sorted(ticks):
        text = short(label, 16)
        half = _LETTER * len(text) / 2
        if x - half > end + _LETTER / 2:
            found.append((x, text))
            end = x + half
    return found
