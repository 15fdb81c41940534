"""Who was in: how many members are told at how few false alarms."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from medleak.inversion.figures.audit_data import AuditData
from medleak.inversion.figures.style import GRAY, band, label, line_style, new_figure
from medleak.inversion.results.case import NO_DEFENCE, Case

FLOOR = 1e-3
"""Where a rate of 0 is drawn: a log axis has none."""


def members_told(audit: AuditData) -> Figure:
    """ROC curves of the membership answers on log axes, with 95 % bands over patients.

    Raises:
        MissingData: It was not asked who was in, or is not known.
    """
    curves = {
        case: points
        for case, answer in audit.answers.items()
        if (points := ((answer.summary.get("separation") or {}).get("curve")))
    }
    if not curves:
        raise audit.missing(
            "answers to who was in, where that is known",
            "medleak audit RUN --candidates LIST --nonmembers LIST --truth LISTS",
        )
    figure = new_figure(
        3.4,
        "Share of members told against share of others taken for members, both on log axes. "
        "Bands: 95 % over patients; dotted: chance. Rates below 0.1 % are drawn there, and rates "
        "that the list is too short to resolve have no point.",
    )
    axes = figure.add_subplot()
    axes.plot((FLOOR, 1), (FLOOR, 1), color=GRAY, linestyle=":", linewidth=1.2, label="_")
    for k, (case, points) in enumerate(curves.items()):
        style = line_style(k)
        x = [p["fpr"] for p in points]
        y, low, high = ([max(p[n], FLOOR) for p in points] for n in ("value", "lower95", "upper95"))
        band(axes, x, low, high, style["color"])
        axes.plot(x, y, label=label(_name(case, curves), 60), **style)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(FLOOR, 1)
    axes.set_ylim(FLOOR, 1.1)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.set_xlabel("others taken for members")
    axes.set_ylabel("members told")
    figure.legend(loc="outside right upper")
    return figure


def _name(case: Case, curves: Mapping[Case, Any]) -> str:
    parts = [case.site]
    if len({c.round for c in curves}) > 1:
        parts.append(f"rounds to {case.round}" if case.averages else f"round {case.round}")
    if len({c.score for c in curves}) > 1:
        parts.append(case.score or "")
    if case.defence != NO_DEFENCE:
        parts.append(case.defence)
        if len({c.seed for c in curves}) > 1:
            parts.append(f"seed {case.seed}")
    return ", ".join(parts)
