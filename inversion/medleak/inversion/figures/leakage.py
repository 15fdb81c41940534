"""RDLV with test accuracy, and k-IIP with cosine, against the strength of a defence."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medleak.inversion.figures.audit_data import AuditData, case_text
from medleak.inversion.figures.estimates import BANDS
from medleak.inversion.figures.strength_curves import (
    curve,
    finish,
    kinds_of,
    panels_of,
    points_of,
    xy,
)
from medleak.inversion.figures.style import DASHES, GRAY, INK, label, line_style
from medleak.inversion.results.case import NO_DEFENCE
from medleak.inversion.results.rows import Row
from medleak.inversion.results.strength import DEFAULT_PARAMETER, canonical, protection, strength_of
from medleak.inversion.results.trade_off import utility_text
from medleak.inversion.results.utility import Utility


def rdlv_by_strength(
    audit: AuditData,
    *,
    parameter: str = DEFAULT_PARAMETER,
) -> Figure:
    """RDLV of every site against ``parameter``, test accuracy on a second axis (TMI Fig. 8, 9).

    Raises:
        MissingData: Fewer than two strengths of any defence were audited.
    """
    chosen = audit.one_attacker().compared()
    kinds = kinds_of(chosen, parameter)
    caption = (
        "Relative data leakage: above 0 the reconstruction shows more of the image than the prior "
        f"does. {BANDS} {case_text(chosen.rows)}"
    )
    accuracies = _accuracies(chosen, kinds, parameter)
    if accuracies:
        sources = dict.fromkeys(u.source for u in audit.utility if u.source)
        caption += (
            " Test accuracy: gray, right axis, dashed as the defence; one federation a point"
            f"{', from ' * bool(sources)}{', '.join(sources)}."
        )
    figure, panels = panels_of(chosen.sites, caption)
    for site, axes in panels.items():
        rows = [r for r in chosen.rows if r.site == site]
        axes.axhline(0, color=INK, linewidth=0.8)
        for k, kind in enumerate(kinds):
            curve(axes, points_of(rows, kind, parameter, "rdlv"), k, kind)
        if accuracies:
            _accuracy_axis(axes, accuracies)
    finish(
        figure,
        panels,
        kinds,
        parameter,
        "RDLV",
        crosses="test accuracy (right axis)" if accuracies else "",
    )
    return figure


def iip_by_strength(
    audit: AuditData,
    *,
    parameter: str = DEFAULT_PARAMETER,
) -> Figure:
    """IIP, solid, and cosine of matched embeddings, dotted, against ``parameter`` (TMI Fig. 11).

    Raises:
        MissingData: No IIP was computed, or fewer than two strengths were audited.
    """
    chosen = audit.one_attacker().compared()
    chosen = chosen.where(lambda r: r.iip_match is not None)
    if not chosen.rows:
        raise audit.missing("IIP (column iip_match)", "medleak audit RUN --embedding FILE")
    kinds = kinds_of(chosen, parameter)
    caption = (
        "IIP: share of the site's training images that are "
        f"{_neighbours(chosen.rows)}, the images of all sites, to the reconstruction assigned to "
        f"them. Dotted: cosine of the matched embeddings. {BANDS} {case_text(chosen.rows)}"
    )
    figure, panels = panels_of(chosen.sites, caption)
    for site, axes in panels.items():
        rows = [r for r in chosen.rows if r.site == site]
        matched = [r for r in rows if r.iip_match]
        for k, kind in enumerate(kinds):
            curve(axes, points_of(rows, kind, parameter, "iip"), k, kind)
            similarity = points_of(matched, kind, parameter, "cosine")
            style = line_style(k) | {"linestyle": ":", "marker": "", "linewidth": 1.2}
            axes.plot(*xy(similarity), label=f"cosine {label(kind)}", **style)
        axes.set_ylim(-0.05, 1.05)
    finish(figure, panels, kinds, parameter, "IIP", dotted="cosine of matches")
    return figure


def _neighbours(rows: Sequence[Row]) -> str:
    """``the nearest of 400``, or among how many neighbours of how many images the truth was."""
    found = {(len((r.neighbours or "-").split()), r.gallery) for r in rows}
    if len(found) > 1:
        return "near in several galleries"
    ((k, gallery),) = found
    return f"{'the nearest' if k == 1 else f'among the {k} nearest'} of {gallery or 'a gallery'}"


def _accuracies(
    audit: AuditData, kinds: Sequence[str], parameter: str
) -> dict[str, list[tuple[float, Utility]]]:
    """(strength, accuracy), ascending, of each kind that has at least two."""
    written_out = {
        strength_of(text, parameter).family: strength_of(canonical(text), parameter).family
        for text in map(protection, audit.rows)
    }
    found: dict[str, list[tuple[float, Utility]]] = {kind: [] for kind in kinds}
    for line in audit.utility:
        at = strength_of(canonical(utility_text(line, parameter)), parameter)
        for kind in kinds:
            if at.at is not None and at.family in (written_out.get(kind), NO_DEFENCE):
                found[kind].append((at.at, line))
    # A federation without a defence alone is a point, and no curve of any kind.
    return {k: sorted(v, key=lambda p: p[0]) for k, v in found.items() if len(v) > 1}


def _accuracy_axis(axes: Axes, accuracies: dict[str, list[tuple[float, Utility]]]) -> None:
    right = axes.twinx()
    right.grid(visible=False)
    right.set_ylim(0, 1)
    right.set_yticks([0, 0.5, 1])
    right.tick_params(axis="y", colors=GRAY, labelsize=6.5)
    for k, points in enumerate(accuracies.values()):
        x, y = [p[0] for p in points], [p[1].accuracy for p in points]
        style = {"color": GRAY, "linestyle": DASHES[k % len(DASHES)], "linewidth": 1.0}
        right.plot(x, y, marker="x", markersize=3.5, label=f"accuracy {k}", **style)
