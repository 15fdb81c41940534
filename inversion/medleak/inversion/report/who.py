"""Who was in it: the membership cases of an audit, and what a report says of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medleak.inversion.report.model import Audit, Figure, Membership
from medleak.inversion.report.texts import names, short
from medleak.inversion.results.case import MEMBERSHIP, NO_DEFENCE
from medleak.inversion.results.verdict import KINDS

NOT_TESTED = (
    "not tested: nobody asked whether a patient can be told to have been in it "
    "(medleak audit --candidates)"
)


def asks(case: Mapping[str, Any]) -> bool:
    """Whether a case, as a file says it, asks who was in, and rebuilds no image."""
    return MEMBERSHIP in str(case.get("attack", ""))


def as_sent(audit: Audit, site: str) -> list[Membership]:
    """The answers on what ``site`` sent, without a replayed defence, worst first."""
    found = [m for m in audit.membership if m.site == site and m.defence == NO_DEFENCE]
    return sorted(found, key=badness)


def leaks(audit: Audit, site: str) -> bool:
    """Whether it can be told who was in one of the updates as ``site`` sent them."""
    return any(m.kind == "leaks" for m in as_sent(audit, site))


def in_words(audit: Audit, site: str) -> str:
    """What is known of ``site``, for a sentence; what was not asked is said to be so."""
    asked = as_sent(audit, site)
    if not asked:
        refused = [r for r in audit.refused if r["case"]["site"] == site and asks(r["case"])]
        if refused:
            return f"not known: {short(str(refused[0].get('why', 'no reason given')), 200)}"
        replayed = [m for m in audit.membership if m.site == site]
        if replayed:
            return "not tested of what was sent, only under protections put on afterwards"
        return NOT_TESTED
    worst = asked[0]
    text = short(worst.sentence or "the audit gives no verdict", 500)
    return text if len(asked) == 1 else f"{text} (the worst of {len(asked)} answers)"


def untested(audit: Audit) -> str:
    """The sites of which nothing is known, by name; empty: all were asked about."""
    asked = {m.site for m in audit.membership if m.defence == NO_DEFENCE}
    return names(site for site in audit.sites if site not in asked)


def worst(found: Iterable[Membership], metric: str) -> Figure:
    """The largest of a figure, its bounds and extremes over several answers; undefined: none."""
    figures = [f for m in found if (f := m.figures.get(metric)) is not None and f.defined]
    return Figure(
        mean=_most(f.mean for f in figures),
        lower95=_most(f.lower95 for f in figures),
        upper95=_most(f.upper95 for f in figures),
        min=min((f.mean for f in figures if f.mean is not None), default=None),
        max=_most(f.mean for f in figures),
        n=len(figures),
    )


def flaw(found: Sequence[Membership]) -> str:
    """Why low figures of these answers are no evidence; empty: they are."""
    for m in found:
        if m.flaws is None:
            return "the audit does not say whether the score was in working order"
        if m.flaws:
            return m.flaws[0]
        if m.kind is None:
            return "the audit gives no verdict on it"
    return ""


def badness(m: Membership) -> tuple[int, float]:
    """Worst first: by kind, then by AUC."""
    place = len(KINDS) if m.kind is None else KINDS.index(m.kind)
    auc = m.figures.get("auc", Figure()).upper95
    return place, -(0.0 if auc is None else auc)


def _most(values: Iterable[float | None]) -> float | None:
    return max((v for v in values if v is not None), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of the table: one update behind one defence."""

    of: Membership
    null: Figure


def lines(audit: Audit) -> list[Line]:
    """One an answer, by site, worst null first in each."""
    return [
        Line(of=m, null=max(m.nulls, key=lambda f: f.mean or 0.0, default=Figure()))
        for m in audit.membership
    ]
