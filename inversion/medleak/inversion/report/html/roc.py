"""Charts of who was in: how members are told at few false alarms, and at which strength no more."""

from collections.abc import Iterator, Mapping, Sequence

from medleak.inversion.report.attack_classes import final_model
from medleak.inversion.report.html.charts import Chart, Point, Series
from medleak.inversion.report.model import Audit, Figure, Membership
from medleak.inversion.report.texts import short
from medleak.inversion.results.case import NO_DEFENCE
from medleak.inversion.results.strength import curve_of, families

_FLOOR = 1e-3
_MODEL = "final model alone"
_TICKS = ((1e-3, "0.1 %"), (1e-2, "1 %"), (0.1, "10 %"), (1.0, "100 %"))


def charts(audit: Audit) -> Iterator[Chart]:
    """Those that the audit has the figures for."""
    drawn = [(_name(audit, m), m.curve) for m in audit.membership]
    drawn = [
        (name, curve)
        for name, curve in [*drawn, (_MODEL, final_model.curve(audit))]
        if any(f.defined for f in curve.values())
    ]
    if drawn:
        chance = [Point(x=x, y=x, text=f"at {x:g} false") for x, _ in _TICKS]
        yield Chart(
            key="roc",
            title="Who was in: members that are told, by false alarms",
            x_label="share of others taken for members (log)",
            y_label="share of members told (log)",
            ticks=_TICKS,
            series=[
                *(Series(name=name, points=_points(curve), band=True) for name, curve in drawn),
                Series(name="chance", points=chance),
            ],
            says="True positive rate against false positive rate of each answer, both logarithmic, "
            "with 95 % bands over patients, beside chance.",
            note="Shaded: 95 % over patients. Rates below 0.1 % are drawn at 0.1 %. A list of few "
            "images says nothing of the left end, and no point stands there.",
            floor=_FLOOR,
        )
    for place, stops in enumerate(families(m.defence for m in audit.membership).values()):
        series = [] if len(stops) < 2 else list(_by_strength(audit, [s.defence for s in stops]))
        if series:
            key = stops[-1].key or "strength"
            yield Chart(
                key=f"members{place}",
                title=f"Who was in, as the protection grows: {short(stops[-1].opened, 90)}",
                x_label=f"{key} (even steps, not to scale)",
                y_label="AUC, mean",
                ticks=[(x, stop.label) for x, stop in enumerate(stops)],
                series=series,
                says="How well members are told (AUC) at each strength of the protection; 0.5 is "
                "chance.",
                note="0.5 is chance. Bars: means of the 95 % bounds over rounds and seeds.",
            )


def _by_strength(audit: Audit, defences: Sequence[str]) -> Iterator[Series]:
    stops = next(iter(families(defences).values()))
    lines: dict[str, dict[str, list[Figure]]] = {}
    for m in audit.membership:
        if (auc := m.figures.get("auc", Figure())).defined:
            name = _site_of(audit, m)
            lines.setdefault(name, {}).setdefault(m.defence, []).append(auc)
    for name, found in lines.items():
        place = {stop.defence: (x, stop.label) for x, stop in enumerate(stops)}
        points = [_mean(*place[stop.defence], figures) for stop, figures in curve_of(stops, found)]
        if points:
            yield Series(name=name, points=points)


def _mean(x: float, label: str, figures: Sequence[Figure]) -> Point:
    y, low, high = (
        sum(getattr(f, name) for f in figures) / len(figures)
        for name in ("mean", "lower95", "upper95")
    )
    return Point(x=x, y=y, low=low, high=high, text=label)


def _points(curve: Mapping[float, Figure]) -> list[Point]:
    return [
        Point(x=x, y=f.mean, low=f.lower95, high=f.upper95, text=f"at {x:g} false")
        for x, f in curve.items()
        if f.mean is not None
    ]


def _site_of(audit: Audit, m: Membership) -> str:
    several = len({other.score for other in audit.membership}) > 1
    return short(m.site, 40) + (f", {m.score}" if several else "")


def _name(audit: Audit, m: Membership) -> str:
    """As short as it is unique."""
    parts = [_site_of(audit, m)]
    if len({other.round for other in audit.membership}) > 1:
        parts.append(f"rounds to {m.round}" if m.joined else f"round {m.round}")
    if m.defence != NO_DEFENCE:
        parts.append(short(m.defence, 40))
    if len({other.seed for other in audit.membership}) > 1 and m.defence != NO_DEFENCE:
        parts.append(f"seed {m.seed}")
    return ", ".join(parts)
