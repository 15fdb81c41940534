"""For each requirement of each source: which figures of an audit speak to it, or that none does."""

from collections.abc import Sequence

from medleak.inversion.report.attack_classes.answer import Answer, Recipient
from medleak.inversion.report.attack_classes.registry import Asked
from medleak.inversion.report.dossier.facts import FACTS
from medleak.inversion.report.dossier.record import Requirement, Source, Status
from medleak.inversion.report.dossier.sources import SOURCES, Asks
from medleak.inversion.report.model import Audit
from medleak.inversion.report.validity import Validity


def by_source(audit: Audit, classes: Sequence[Asked], validity: Validity) -> list[Source]:
    """Every source with what ``audit`` has for it; nothing that is asked is left out."""
    return [
        Source(
            name=text.name,
            title=text.title,
            address=text.address,
            requirements=[_answered(asks, audit, classes, validity) for asks in text.requirements],
        )
        for text in SOURCES
    ]


def _answered(
    asks: Asks, audit: Audit, classes: Sequence[Asked], validity: Validity
) -> Requirement:
    found: list[str] = []
    missing: list[str] = []
    for name, recipient in asks.classes:
        for answer in _answers(classes, name, recipient):
            place = f"{name}/{answer.recipient.name.lower()}"
            if answer.tested:
                found.append(f"{place}: {answer.light.value if answer.light else ''}")
            else:
                missing.append(f"{place}: not tested")
    for name in asks.facts:
        title, fact = FACTS[name]
        words = fact(audit, classes, validity)
        if words is None:
            missing.append(f"{title}: none")
        else:
            found.append(words)
    return Requirement(
        place=asks.place,
        asks=asks.asks,
        basis=asks.basis,
        status=_status(found, missing),
        answered_by=list(dict.fromkeys(found)),
        open=list(dict.fromkeys(missing)),
        beyond=asks.beyond,
    )


def _answers(classes: Sequence[Asked], name: str, recipient: Recipient | None) -> list[Answer]:
    of = next(one for one in classes if one.of.name == name)
    recipients = of.of.recipients if recipient is None else (recipient,)
    return [a for r in recipients if (a := of.by(r)) is not None]


def _status(found: Sequence[str], missing: Sequence[str]) -> Status:
    if not found:
        return "no figure"
    return "some figures" if missing else "figures"
