"""Figures against the strength of a defence: a panel a site, a curve a family; first SSIM's own."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from medleak.inversion.figures.audit_data import AuditData, case_text
from medleak.inversion.figures.estimates import BANDS, Estimate, estimate
from medleak.inversion.figures.style import (
    GRAY,
    band,
    label,
    line_style,
    new_figure,
    strength_axis,
)
from medleak.inversion.results.rows import Row
from medleak.inversion.results.strength import DEFAULT_PARAMETER, curve_of, families, protection

_COLUMNS = 3
_MOST_PANELS = 12
SWEEP = (
    "medleak audit RUN --defence none --defence percentile_gaussian:sigma0=1 "
    "--defence percentile_gaussian:sigma0=10"
)


def ssim_by_strength(
    audit: AuditData,
    *,
    parameter: str = DEFAULT_PARAMETER,
) -> Figure:
    """SSIM of every site against ``parameter``; dotted: SSIM of the prior, which nothing leaked.

    Raises:
        MissingData: Fewer than two strengths of any defence were audited.
    """
    chosen = audit.one_attacker().compared()
    kinds = kinds_of(chosen, parameter)
    caption = f"SSIM of reconstruction and original. {BANDS} {case_text(chosen.rows)}"
    figure, panels = panels_of(chosen.sites, caption)
    for site, axes in panels.items():
        rows = [r for r in chosen.rows if r.site == site]
        for k, kind in enumerate(kinds):
            curve(axes, points_of(rows, kind, parameter, "ssim"), k, kind)
            prior = points_of(rows, kind, parameter, "ssim_prior")
            axes.plot(*xy(prior), color=GRAY, linestyle=":", linewidth=1, label="_prior")
        axes.set_ylim(0, 1.02)
    finish(figure, panels, kinds, parameter, "SSIM", dotted="prior")
    return figure


def kinds_of(audit: AuditData, parameter: str) -> list[str]:
    """Families of defences with ``parameter``, each a curve.

    Raises:
        MissingData: There are fewer than two strengths in all.
    """
    found = families((protection(r) for r in audit.rows), parameter)
    strengths = {stop.at for stops in found.values() for stop in stops}
    if len(strengths) < 2:
        raise audit.missing(f"defences that differ in {parameter}", SWEEP)
    return list(found)


def points_of(
    rows: Sequence[Row], kind: str, parameter: str, name: str
) -> list[tuple[float, Estimate]]:
    """(strength, figure ``name``), ascending; an unprotected update is strength 0 of every kind."""
    under: dict[str, list[Row]] = {}
    for row in rows:
        under.setdefault(protection(row), []).append(row)
    by_strength: dict[float, list[Row]] = {}
    for stop, own in curve_of(families(under, parameter).get(kind, ()), under):
        by_strength.setdefault(stop.at or 0.0, []).extend(own)
    points = ((x, estimate(own, name)) for x, own in sorted(by_strength.items()))
    return [(x, e) for x, e in points if e is not None]


def curve(axes: Axes, points: Sequence[tuple[float, Estimate]], k: int, kind: str) -> None:
    """Draw the means of curve ``k``, and their intervals as a band."""
    if not points:
        return
    style = line_style(k)
    x, y = xy(points)
    axes.plot(x, y, label=label(kind, 60), **style)
    low, high = ([getattr(e, side) for _, e in points] for side in ("lower95", "upper95"))
    band(axes, x, low, high, style["color"])


def xy(points: Sequence[tuple[float, Estimate]]) -> tuple[list[float], list[float]]:
    """Strengths and means, as lines are drawn from them."""
    return [x for x, _ in points], [e.mean for _, e in points]


def panels_of(sites: Sequence[str], caption: str) -> tuple[Figure, dict[str, Axes]]:
    """A figure with a panel a site, all of one scale."""
    shown = list(sites)[:_MOST_PANELS]
    if len(shown) < len(sites):
        caption += f" The first {len(shown)} of {len(sites)} sites."
    columns = min(_COLUMNS, len(shown))
    lines = -(-len(shown) // columns)
    figure = new_figure(2.6 if lines == 1 else 1.55 * lines + 0.5, caption)
    axes = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    panels = {}
    for k, cell in enumerate(axes.flat):
        if k < len(shown):
            panels[shown[k]] = cell
            cell.set_title(label(shown[k]))
        else:
            cell.remove()
    return figure, panels


def finish(
    figure: Figure,
    panels: dict[str, Axes],
    kinds: Sequence[str],
    parameter: str,
    y_label: str,
    *,
    dotted: str = "",
    crosses: str = "",
) -> None:
    """Axis labels, ticks that the panels share, one legend for all of them."""
    x = [float(v) for a in panels.values() for line in a.get_lines() for v in _data(line)]
    for axes in panels.values():
        strength_axis(axes, x)
    sigma = "strength σ₀" if parameter == DEFAULT_PARAMETER else parameter
    grid = list(panels.values())
    for k, axes in enumerate(grid):
        if k + _COLUMNS >= len(grid):
            axes.set_xlabel(sigma)
            axes.tick_params(labelbottom=True)
        if k % _COLUMNS == 0:
            axes.set_ylabel(y_label)
    handles = [Line2D([], [], **line_style(k)) for k in range(len(kinds))]
    labels = [label(kind, 60) for kind in kinds]
    if crosses:
        handles.append(Line2D([], [], color=GRAY, marker="x", markersize=3.5, linewidth=1))
        labels.append(crosses)
    if dotted:
        handles.append(Line2D([], [], color=GRAY, linestyle=":", linewidth=1.2))
        labels.append(dotted)
    figure.legend(handles, labels, loc="outside upper left", ncols=min(3, len(labels)))


def _data(line: Line2D) -> np.ndarray:
    """x of a curve; a horizontal rule has none of its own."""
    x = np.asarray(line.get_xdata(), dtype=float)
    return x[:0] if str(line.get_label()).startswith("_") else x
