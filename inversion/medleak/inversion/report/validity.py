"""Until when an audit holds: what it is of, when and by what it was made, what makes it due again.

No source names a period, so none is made up here: a date stands in the report where the auditor
gives one.
"""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from medleak.inversion.report.model import Audit
from medleak.inversion.report.texts import names, ranges, short
from medleak.inversion.report.values import listing, mapping, text


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """What a reader has to know before he relies on an audit later than on its day.

    Attributes:
        made: Days on which it ran, first and last (ISO 8601, UTC); empty: not recorded.
        by: Version of medleak that ran it; empty: not recorded.
        covers: What it is of, a sentence.
        due: What makes a repeat due, a phrase each.
        repeat_by: The day that the auditor set; None: he set none.
    """

    made: Sequence[str]
    by: str
    covers: str
    due: Sequence[str]
    repeat_by: datetime.date | None = None


DUE = (
    "the network, its kind of normalisation, or the weights that training starts from",
    "optimiser, learning rate, batch size, epochs, or the number of images of a site",
    "the kind, size or augmentation of the images",
    "which sites take part, who aggregates, or who gets to see updates, models or logs",
    "the protection, or its strength",
    "rounds that were not audited are to be relied on",
    "a stronger attack is published, or a newer medleak has one",
)
"""What makes a repeat due whatever the federation."""


def validity(audit: Audit, repeat_by: datetime.date | None = None) -> Validity:
    """Until when ``audit`` holds.

    Args:
        audit: It.
        repeat_by: Day by which the auditor wants it repeated in any case.
    """
    runs = [mapping(r) for r in listing(audit.config.get("runs"))]
    days = sorted(day for r in runs if (day := _day(text(r.get("started")))))
    versions = [text(mapping(r.get("versions")).get("medleak")) for r in runs]
    return Validity(
        made=list(dict.fromkeys([*days[:1], *days[-1:]])),
        by=short(", ".join(dict.fromkeys(filter(None, versions))), 60),
        covers=_covers(audit),
        due=DUE,
        repeat_by=repeat_by,
    )


def _covers(audit: Audit) -> str:
    updates = [str(u).partition("/") for u in mapping(audit.config.get("updates"))]
    rounds = {int(r) for r, _, _ in updates if r.isdecimal()} or {r.round for r in audit.rows}
    sites = names(audit.sites) or "no site"
    if not rounds:
        return f"updates of {sites}"
    plural = "s" * (len(rounds) != 1)
    count = f"{len(updates)} update{'s' * (len(updates) != 1)} of " if updates else ""
    return f"{count}{sites}, round{plural} {ranges(sorted(rounds))}, as sent then"


def _day(started: str) -> str:
    try:
        return datetime.datetime.fromisoformat(started).date().isoformat()
    except ValueError:  # of a file that somebody wrote by hand
        return ""
