"""Means with 95 % intervals, from the very function that fills summary.json."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from medleak.inversion.results.group import figures_of
from medleak.inversion.results.rows import Row

BANDS = (
    "95 % intervals: bootstrap over patients, wider where they are few, or over runs where there "
    "is one patient; of shares of under 30 Wilson's; none where one image was attacked once."
)
"""For captions: what a band is."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over ``n`` rows and its 95 % interval; NaN limits where there is none."""

    mean: float
    lower95: float
    upper95: float
    n: int

    @property
    def bounded(self) -> bool:
        """Whether there is an interval."""
        return math.isfinite(self.upper95)

    def text(self, digits: int = 3, signed: bool = False) -> str:
        """``0.912 [0.905, 0.918]``, or the mean alone."""
        sign = "+" if signed else ""
        mean, low, high = (f"{v:{sign}.{digits}f}" for v in (self.mean, self.lower95, self.upper95))
        return f"{mean} [{low}, {high}]" if self.bounded else mean


def estimate(rows: Sequence[Row], name: str) -> Estimate | None:
    """Figure ``name`` of ``rows``: as in a group of summary.json, or a null's name; None: unknown.

    Raises:
        KeyError: There is no such figure.
    """
    return estimates(rows, name)[name]


def estimates(rows: Sequence[Row], *names: str) -> dict[str, Estimate | None]:
    """Several figures of the same rows."""
    if not rows:
        return dict.fromkeys(names)
    found = figures_of(rows)
    figures = found["nulls"] | found
    return {name: _of(figures[name]) for name in names}


def _of(figure: dict[str, float | None] | None) -> Estimate | None:
    if figure is None or figure.get("mean") is None:
        return None
    mean, low, high = (figure.get(k) for k in ("mean", "lower95", "upper95"))
    nothing = math.nan
    return Estimate(
        mean=nothing if mean is None else mean,
        lower95=nothing if low is None else low,
        upper95=nothing if high is None else high,
        n=int(figure.get("n") or 0),
    )
