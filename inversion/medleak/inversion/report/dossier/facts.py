"""What an audit says beside its attack classes, where a source asks for it."""

from collections.abc import Callable, Mapping, Sequence

from medleak.inversion.report.attack_classes import canaries
from medleak.inversion.report.attack_classes.answer import Recipient
from medleak.inversion.report.attack_classes.registry import Asked, worst
from medleak.inversion.report.model import Audit
from medleak.inversion.report.texts import names, short
from medleak.inversion.report.validity import Validity
from medleak.inversion.report.verdicts import reached_easy_case
from medleak.inversion.results.case import NO_DEFENCE

Fact = Callable[[Audit, Sequence[Asked], Validity], str | None]
"""What is known, for a sentence; None: nothing is."""


def _knowledge(audit: Audit, classes: Sequence[Asked], validity: Validity) -> str | None:
    known = dict.fromkeys(
        f"{short(g.attack, 60)} knowing {short(g.knowledge, 60)}" for g in audit.groups
    )
    return f"threat model: {'; '.join(list(known)[:6])}" if known else None


def _recipients(audit: Audit, classes: Sequence[Asked], validity: Validity) -> str | None:
    counts = {r: worst(classes, r)[1:] for r in Recipient}
    if not any(tested for tested, _ in counts.values()):
        return None
    parts = [f"{r.short} {tested} of {there}" for r, (tested, there) in counts.items()]
    return f"classes tested by recipient: {', '.join(parts)}"


def _worst_and_mean(audit: Audit, classes: Sequence[Asked], validity: Validity) -> str | None:
    both = [
        one.of.title for one in classes if one.leading.worst.defined and one.leading.mean.defined
    ]
    return f"largest and mean figure of {', '.join(both).lower()}" if both else None


def _repeat(audit: Audit, classes: Sequence[Asked], validity: Validity) -> str | None:
    return None if validity.repeat_by is None else f"to be repeated by {validity.repeat_by}"


def _epsilon(audit: Audit, classes: Sequence[Asked], validity: Validity) -> str | None:
    sound = [one for one in audit.ledgers if not one.error and "ε = " in one.spent]
    spent = [f"{short(one.place, 60)}: {one.spent}" for one in sound]
    return f"ledgers: {'; '.join(spent)}" if spent else None


def _epsilon_tried(audit: Audit, classes: Sequence[Asked], validity: Validity) -> str | None:
    return canaries.summary(audit)


def _protections(audit: Audit, classes: Sequence[Asked], validity: Validity) -> str | None:
    declared = {g.site: g.declared for g in audit.groups if g.declared != NO_DEFENCE}
    replayed = {g.defence for g in audit.groups} - {NO_DEFENCE}
    parts = []
    if declared:
        how = short(", ".join(sorted({*declared.values()})), 300)
        parts.append(f"declared by {names(declared)}: {how}")
    if replayed:
        parts.append(f"tried by replay: {short(', '.join(sorted(replayed)), 300)}")
    return "; ".join(parts) or None


def _repeatable(audit: Audit, classes: Sequence[Asked], validity: Validity) -> str | None:
    if not validity.made or not audit.config.get("runs"):
        return None
    return "command, versions, settings and hashes of the records, in config.json"


def _health(audit: Audit, classes: Sequence[Asked], validity: Validity) -> str | None:
    reached = {g.attack: reached_easy_case(g, audit.health) for g in audit.groups}
    tried = {attack: found for attack, found in reached.items() if found is not None}
    if not tried:
        return None
    return f"{sum(tried.values())} of {len(reached)} attacks were seen to work on an easy case"


FACTS: Mapping[str, tuple[str, Fact]] = {
    "knowledge": ("what attackers knew", _knowledge),
    "recipients": ("who was considered", _recipients),
    "worst_and_mean": ("the worst beside the mean", _worst_and_mean),
    "repeat": ("a date for a repeat", _repeat),
    "epsilon": ("ε of a ledger", _epsilon),
    "epsilon_tried": ("a lower bound of ε by canaries", _epsilon_tried),
    "protections": ("protections that were declared or tried", _protections),
    "repeatable": ("how to repeat it", _repeatable),
    "health": ("attacks seen to work", _health),
}
"""By name: what it is, and where it comes from."""
