"""What privacy costs: leakage of every defence against the accuracy that it leaves."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from medleak.filters.spec import SpecChain, rounded
from medleak.inversion.figures.audit_data import AuditData, case_text
from medleak.inversion.figures.estimates import estimate
from medleak.inversion.figures.protection import DEFAULT_PARAMETER, canonical, dose, protection
from medleak.inversion.figures.style import GRAY, INK, label, line_style, new_figure
from medleak.inversion.results.rows import Row
from medleak.inversion.results.utility import Utility


def privacy_utility(audit: AuditData) -> Figure:
    """Worst upper bound of RDLV over the sites against test accuracy, and the front of both.

    Raises:
        MissingData: There is no utility.json, or no defence in it was audited.
    """
    chosen = audit.one_attacker().compared()
    points = trade_offs(chosen, audit.utility)
    if not points:
        raise audit.missing(
            "utility.json with the accuracy of an audited defence",
            "medleak audit RUN --utility none=RUN --utility percentile_gaussian:sigma0=10=OTHER",
        )
    front = _front(points)
    figure = new_figure(
        3.0,
        "Each point is a defence; left is leaking less, up is more accurate. x: upper 95 % bound "
        "of RDLV (the mean, where there is no interval) at the site that leaks most; bars: 95 % of "
        "the accuracy. The line joins defences "
        f"that no other one beats in both. {case_text(chosen.rows)}",
    )
    axes = figure.add_subplot()
    axes.axvline(0, color=INK, linewidth=0.8)
    for k, (name, leak, utility) in enumerate(points):
        style = line_style(k) | {"linestyle": "none", "markersize": 6.5}
        axes.plot(leak, utility.accuracy, label=label(name, 48), **style)
        limits = (utility.lower95, utility.upper95)
        axes.plot((leak, leak), limits, color=style["color"], linewidth=1, label="_")
    best = sorted((leak, utility.accuracy) for _, leak, utility in front)
    axes.plot(*zip(*best, strict=True), color=GRAY, linewidth=1, zorder=0, label="_")
    axes.set_xlabel("RDLV, upper 95 % bound, worst site")
    axes.set_ylabel("test accuracy")
    handles = [line for line in axes.get_lines() if not str(line.get_label()).startswith("_")]
    figure.legend(handles=handles, loc="outside right upper")
    return figure


def trade_offs(audit: AuditData, utility: Sequence[Utility]) -> list[tuple[str, float, Utility]]:
    """(protection, worst upper bound of RDLV over the sites, utility) where both are known."""
    found = []
    for name in dict.fromkeys(protection(r) for r in audit.rows):
        known = next((u for u in utility if same(utility_text(u), name)), None)
        bounds = [
            e.upper95 if e.bounded else e.mean
            for site in audit.sites
            if (e := estimate(_cell(audit.rows, site, name), "rdlv"))
        ]
        if known and bounds:
            found.append((name, max(bounds), known))
    return found


def utility_text(utility: Utility, parameter: str = DEFAULT_PARAMETER) -> str:
    """The protection that a line of utility.json is about, as `protection` writes it."""
    if utility.strength is None or dose(utility.defence, parameter) is not None:
        return utility.defence
    try:
        chain = SpecChain.parse(utility.defence)
    except ValueError:
        return utility.defence  # not in our words
    return str(chain.led_by(**{parameter: rounded(utility.strength)}))


def same(first: str, second: str) -> bool:
    """Whether two texts name the same protection, defaults written out or not."""
    return canonical(first) == canonical(second)


def _cell(rows: Sequence[Row], site: str, name: str) -> list[Row]:
    return [r for r in rows if r.site == site and protection(r) == name]


def _front(points: Sequence[tuple[str, float, Utility]]) -> list[tuple[str, float, Utility]]:
    def beaten(leak: float, accuracy: float) -> bool:
        return any(
            x <= leak and u.accuracy >= accuracy and (x, u.accuracy) != (leak, accuracy)
            for _, x, u in points
        )

    return [p for p in points if not beaten(p[1], p[2].accuracy)]
