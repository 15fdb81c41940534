"""The charts of an audit: over noise, rounds and thresholds, against nulls and accuracy."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from medleak.inversion.report.html import roc
from medleak.inversion.report.html.charts import Chart, Point, Series
from medleak.inversion.report.model import Audit, Figure, Group
from medleak.inversion.report.texts import short
from medleak.inversion.report.values import number
from medleak.inversion.results.case import NO_DEFENCE
from medleak.inversion.results.strength import (
    DEFAULT_PARAMETER,
    Strength,
    curve_of,
    families,
    protection,
)
from medleak.inversion.results.trade_off import Leak, TradeOff, front, trade_offs, utility_text
from medleak.inversion.results.utility import Utility

_GUESS = "no better than a guess"
_MOST_NAMES = 4  # full names of groups that fit beside each other
_THRESHOLDS = [t / 100 for t in range(50, 100, 5)]
_NULLS = {
    "prior": "guess from public images",
    "class_mean": "mean of the class",
    "nonmember": "nearest image of others",
    "other": "rebuilt from another site's update",
}


def charts(audit: Audit) -> list[Chart]:
    """All charts that the audit has the figures for."""
    found = [*_by_strength(audit), *_by_round(audit), *_by_threshold(audit), *_nulls(audit)]
    return [*found, *_front(audit), *roc.charts(audit)]


def _name(audit: Audit, group: Group) -> str:
    """As short as it is unique: the site, and attack or knowledge where there are several."""
    parts = [short(group.site, 40)]
    if len({g.attack for g in audit.groups}) > 1:
        parts.append(group.attack)
    if len({g.knowledge for g in audit.groups}) > 1:
        parts.append(group.knowledge)
    return ", ".join(parts)


def _by_strength(audit: Audit) -> Iterator[Chart]:
    for place, stops in enumerate(families(g.defence for g in audit.overall).values()):
        if len(stops) < 2:
            continue
        series = _series(audit, stops)
        if series:
            key = stops[-1].key or "strength"
            yield Chart(
                key=f"strength{place}",
                title=f"What comes back as the protection grows: {short(stops[-1].opened, 90)}",
                x_label=f"{key} (even steps, not to scale)",
                y_label="RDLV, mean",
                ticks=[(x, stop.label) for x, stop in enumerate(stops)],
                series=series,
                zero=_GUESS,
                says="Mean leakage (RDLV) of each site at each strength of the protection.",
            )


def _series(audit: Audit, stops: Sequence[Strength]) -> list[Series]:
    lines: dict[str, dict[str, Figure]] = {}
    for group in audit.overall:
        if (rdlv := group.figure("rdlv")).defined:
            lines.setdefault(_name(audit, group), {})[group.defence] = rdlv
    place = {stop.defence: x for x, stop in enumerate(stops)}
    curves = {name: curve_of(stops, found) for name, found in lines.items()}
    return [
        Series(name=name, points=[_point(place[s.defence], f, s.label) for s, f in points])
        for name, points in curves.items()
        if points
    ]


def _by_round(audit: Audit) -> Iterator[Chart]:
    rounds = sorted({r.round for r in audit.rows})
    if len(rounds) < 2:
        return
    where = {r: x for x, r in enumerate(rounds)}
    lines: dict[str, list[Point]] = {}
    for group in _round_groups(audit):
        rdlv = group.figure("rdlv")
        if rdlv.mean is not None and group.round in where:
            point = _point(where[group.round], rdlv, f"round {group.round}")
            lines.setdefault(_name(audit, group), []).append(point)
    if lines:
        yield Chart(
            key="rounds",
            title="What comes back from round to round, as sent",
            x_label="round",
            y_label="RDLV, mean",
            ticks=[(x, str(r)) for r, x in where.items()],
            series=[Series(name=n, points=sorted(p, key=lambda q: q.x)) for n, p in lines.items()],
            zero=_GUESS,
            says="Mean leakage (RDLV) of each site's update in each round.",
        )


def _round_groups(audit: Audit) -> list[Group]:
    """The audit's own by round, or plain means of its rows where it has none."""
    own = [g for g in audit.groups if g.round is not None and g.defence == NO_DEFENCE]
    if own:
        return own
    values: dict[tuple[str, int, str, str, str], list[float]] = {}
    for r in audit.rows:
        if r.rdlv is not None and r.defence == NO_DEFENCE:
            key = (r.site, r.round, r.attack, r.declared, r.knowledge)
            values.setdefault(key, []).append(r.rdlv)
    return [
        Group(
            site=site,
            round=round_,
            attack=attack,
            declared=declared,
            defence=NO_DEFENCE,
            knowledge=knowledge,
            n=len(found),
            seeds=1,
            figures={"rdlv": Figure(mean=sum(found) / len(found), n=len(found))},
        )
        for (site, round_, attack, declared, knowledge), found in values.items()
    ]


def _by_threshold(audit: Audit) -> Iterator[Chart]:
    """Success rates that the summary holds, or those counted from the rows."""
    lines: list[Series] = []
    for group in (g for g in audit.overall if g.defence == NO_DEFENCE):
        sweep = {t: s for k, s in group.asr_sweep.items() if (t := _float(k)) is not None}
        if not sweep:
            ssim = [
                r.ssim
                for r in audit.rows
                if r.ssim is not None
                and (r.site, r.attack, r.defence, r.declared, r.knowledge)
                == (group.site, group.attack, group.defence, group.declared, group.knowledge)
            ]
            sweep = {t: sum(v >= t for v in ssim) / len(ssim) for t in _THRESHOLDS if ssim}
        points = [Point(x=t, y=s, text=f"SSIM of at least {t:g}") for t, s in sorted(sweep.items())]
        if points:
            lines.append(Series(name=_name(audit, group), points=points))
    if lines:
        yield Chart(
            key="thresholds",
            title="Share of images recovered, by what counts as recovered",
            x_label="SSIM that counts as success (MedPFL: 0.9)",
            y_label="share of images",
            ticks=[(t, f"{t:g}") for t in _THRESHOLDS],
            series=lines,
            says="Attack success rate of each site's update as sent, by threshold on SSIM.",
        )


def _nulls(audit: Audit) -> Iterator[Chart]:
    groups = [
        g for g in audit.overall if g.defence == NO_DEFENCE and g.figure("ssim").mean is not None
    ]
    if not groups:
        return
    names = [_name(audit, g) for g in groups]
    lines = [
        Series(
            name="rebuilt from the update",
            points=[_point(x, g.figure("ssim"), names[x]) for x, g in enumerate(groups)],
            joined=False,
        )
    ]
    for key, words in _NULLS.items():
        points = [
            Point(x=x, y=value, text=names[x])
            for x, g in enumerate(groups)
            if (value := _null(g, key)) is not None
        ]
        if points:
            lines.append(Series(name=words, points=points, joined=False))
    yield Chart(
        key="nulls",
        title="Against what chance and public knowledge reach",
        x_label="site, as sent",
        y_label="SSIM, mean",
        ticks=list(enumerate(names if len(names) <= _MOST_NAMES else [g.site for g in groups])),
        series=lines,
        says="Mean similarity of the reconstructions beside that of guesses without the update.",
        note="Only what lies above the guesses came out of the update.",
    )


def _null(group: Group, key: str) -> float | None:
    if key in group.nulls:
        return group.nulls[key]
    return group.figure("ssim_prior").mean if key == "prior" else None


def _front(audit: Audit) -> Iterator[Chart]:
    """Accuracy and leakage of each protection: from utility.json, else from the calibration."""
    points = trade_offs(_leaks(audit), _utilities(audit))
    if not points:
        return
    best = front(points)
    beaten = [p for p in points if p not in best]
    named = (("not beaten in both", best, True), ("beaten in both", beaten, False))
    series = [
        Series(name=name, points=sorted(map(_cost, some), key=lambda p: p.x), joined=joined)
        for name, some, joined in named
        if some
    ]
    yield Chart(
        key="front",
        title="What protection costs: leakage against accuracy",
        x_label="accuracy of the trained model",
        y_label="RDLV, upper 95 % bound, worst site",
        ticks=[(x, f"{x:.3f}") for x in sorted({p.utility.accuracy for p in points})],
        series=series,
        zero=_GUESS,
        says="Leakage at the site that leaks most against the accuracy of the model under the "
        "same protection.",
        note="Best is down and to the right: little leakage, high accuracy. The line joins the "
        "protections that no other one beats in both.",
    )


def _cost(point: TradeOff) -> Point:
    accuracy, name = point.utility.accuracy, short(point.protection, 60)
    text = f"{name}, accuracy {accuracy:.3f}, {short(point.leak.site, 40)}"
    return Point(x=accuracy, y=point.leak.bound, text=text)


def _leaks(audit: Audit) -> Iterator[Leak]:
    for group in audit.overall:
        rdlv = group.figure("rdlv")
        bound = rdlv.mean if rdlv.upper95 is None else rdlv.upper95
        if bound is not None:
            yield Leak(protection=protection(group), site=group.site, bound=bound)


def _utilities(audit: Audit) -> list[Utility]:
    """Accuracies by protection, as far as a file that anybody may have written has them."""
    found = []
    for entry in audit.utility:
        found += _utility(entry, NO_DEFENCE, DEFAULT_PARAMETER)
    for calibration in audit.calibrations:
        for entry in calibration.utility:
            found += _utility(entry, calibration.defence, calibration.parameter)
    return found


def _utility(entry: Mapping[str, Any], defence: str, parameter: str) -> list[Utility]:
    accuracy = number(entry.get("accuracy"))
    if accuracy is None:
        return []
    line = Utility(
        defence=str(entry.get("defence", defence)),
        strength=number(entry.get("strength")),
        accuracy=accuracy,
        lower95=number(entry.get("lower95")) or accuracy,
        upper95=number(entry.get("upper95")) or accuracy,
        n=int(number(entry.get("n")) or 0),
        source=str(entry.get("source", "")),
    )
    text = utility_text(line, parameter or DEFAULT_PARAMETER)
    return [replace(line, defence=text, strength=None)]


def _point(x: float, figure: Figure, text: str) -> Point:
    return Point(x=x, y=figure.mean or 0.0, low=figure.lower95, high=figure.upper95, text=text)


def _float(text: str) -> float | None:
    try:
        return number(float(text))
    except ValueError:
        return None
