"""What privacy costs: leakage of every defence against the accuracy that it leaves."""

from collections.abc import Iterator

from matplotlib.figure import Figure

from medleak.inversion.figures.audit_data import AuditData, case_text
from medleak.inversion.figures.estimates import estimate
from medleak.inversion.figures.style import GRAY, INK, label, line_style, new_figure
from medleak.inversion.results.strength import protection
from medleak.inversion.results.trade_off import Leak, front, trade_offs


def privacy_utility(audit: AuditData) -> Figure:
    """Worst upper bound of RDLV over the sites against test accuracy, and the front of both.

    Raises:
        MissingData: There is no utility.json, or no defence in it was audited.
    """
    chosen = audit.one_attacker().compared()
    points = trade_offs(_leaks(chosen), audit.utility)
    if not points:
        raise audit.missing(
            "utility.json with the accuracy of an audited defence",
            "medleak audit RUN --utility none=RUN --utility percentile_gaussian:sigma0=10=OTHER",
        )
    figure = new_figure(
        3.0,
        "Each point is a defence; left is leaking less, up is more accurate. x: upper 95 % bound "
        "of RDLV (the mean, where there is no interval) at the site that leaks most; bars: 95 % of "
        "the accuracy. The line joins defences "
        f"that no other one beats in both. {case_text(chosen.rows)}",
    )
    axes = figure.add_subplot()
    axes.axvline(0, color=INK, linewidth=0.8)
    for k, point in enumerate(points):
        leak, utility = point.leak.bound, point.utility
        style = line_style(k) | {"linestyle": "none", "markersize": 6.5}
        axes.plot(leak, utility.accuracy, label=label(point.protection, 48), **style)
        limits = (utility.lower95, utility.upper95)
        axes.plot((leak, leak), limits, color=style["color"], linewidth=1, label="_")
    best = [(point.leak.bound, point.utility.accuracy) for point in front(points)]
    axes.plot(*zip(*best, strict=True), color=GRAY, linewidth=1, zorder=0, label="_")
    axes.set_xlabel("RDLV, upper 95 % bound, worst site")
    axes.set_ylabel("test accuracy")
    handles = [line for line in axes.get_lines() if not str(line.get_label()).startswith("_")]
    figure.legend(handles=handles, loc="outside right upper")
    return figure


def _leaks(audit: AuditData) -> Iterator[Leak]:
    for name in dict.fromkeys(protection(r) for r in audit.rows):
        for site in audit.sites:
            rows = [r for r in audit.rows if r.site == site and protection(r) == name]
            if e := estimate(rows, "rdlv"):
                bound = e.upper95 if e.bounded else e.mean
                yield Leak(protection=name, site=site, bound=bound)
