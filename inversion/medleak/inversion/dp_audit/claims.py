"""What ε is claimed for the rounds of a record: by the site's ledger, else by what it declared."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medleak.custom.record import UpdateInfo
from medleak.filters.privacy import accounting, ledger
from medleak.filters.privacy.accounting import Event, Guarantee
from medleak.filters.privacy.ledger import Entry
from medleak.filters.registry import defence
from medleak.filters.spec import Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What is claimed of several releases together.

    Attributes:
        epsilon: At the δ that was asked for; None: nothing is claimed.
        by: Whose word it is.
        events: What ``epsilon`` was computed from, a release each.
    """

    epsilon: float | None
    by: str
    events: tuple[Event, ...] = ()


def claim_of(infos: Sequence[UpdateInfo], delta: float, *, book: Path | None) -> Claim:
    """ε of the rounds ``infos`` of one site together, at ``delta``: the strictest of its claims.

    Args:
        infos: Of one site.
        delta: In (0, 1).
        book: Its ledger: lines count that the record names by their hash. None: not at hand.

    Raises:
        ValueError: The ledger was changed, lacks a line that the record names, or has one for
            several rounds.
    """
    if book is not None:
        noted = _noted(infos, book)
        return _strictest([entry.spend.guarantees for entry in noted], delta, "the site's ledger")
    declared = [_declared(info) for info in infos]
    return _strictest(declared, delta, "what the site declared in the record")


def _noted(infos: Sequence[UpdateInfo], book: Path) -> list[Entry]:
    """The line of each round; a copy that the site handed over does as well."""
    lines = {entry.number: entry for entry in ledger.read_copy(book).entries}
    found: dict[int, Entry] = {}
    for info in infos:
        head = info.ledger
        line = lines.get(head.entries) if head is not None else None
        if head is None or line is None or line.hash != head.head or line.spend.site != info.site:
            raise ValueError(
                f"Round {info.round} of {info.site} has no line in {book}: what ε is claimed for "
                "it is not known. Name the ledger of this run, by --ledger."
            )
        if line.number in found:
            raise ValueError(
                f"Round {info.round} of {info.site} names line {line.number} of {book}, as a round "
                "before does: two releases cannot be one, so what ε is claimed for both is not "
                "known. Look how the record was changed."
            )
        found[line.number] = line
    return list(found.values())


def _declared(info: UpdateInfo) -> Sequence[Guarantee]:
    found = []
    for one in info.defences:
        name, args = str(one.get("name")), dict(one.get("args") or {})
        try:
            if name == "dp_sgd":
                found.append(accounting.dp_sgd(**args))
            else:
                found.append(accounting.guarantee_of(defence(str(Spec.of(name, args)))))
        except (TypeError, ValueError):  # not one of ours: it claims nothing that can be counted
            continue
    return [g for g in found if g is not None]


def _strictest(releases: Sequence[Sequence[Guarantee]], delta: float, by: str) -> Claim:
    """Of those kinds of guarantee that every release has the one with the least ε."""
    kinds = [{(g.unit, g.relation): g.event for g in release} for release in releases]
    common = set.intersection(*map(set, kinds)) if kinds else set()
    claims = [tuple(of[kind] for of in kinds) for kind in sorted(common)]
    found = [(accounting.epsilon(events, delta), events) for events in claims]
    if not found:
        return Claim(epsilon=None, by=by)
    epsilon, events = min(found, key=lambda pair: pair[0])
    return Claim(epsilon=epsilon, by=by, events=events)
