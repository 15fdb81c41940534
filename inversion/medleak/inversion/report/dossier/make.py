"""evidence.json of an audit, as its report says it and for programs."""

import datetime
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from medleak.custom.record import utc_now
from medleak.inversion.report import wording
from medleak.inversion.report.attack_classes.answer import Answer as Answered
from medleak.inversion.report.attack_classes.answer import Recipient
from medleak.inversion.report.attack_classes.registry import Asked, asked
from medleak.inversion.report.completeness import not_examined
from medleak.inversion.report.dossier import record
from medleak.inversion.report.dossier.answered import by_source
from medleak.inversion.report.dossier.contents import files_of
from medleak.inversion.report.model import Audit, Figure
from medleak.inversion.report.validity import Validity
from medleak.inversion.report.values import mapping
from medleak.inversion.report.verdicts import SiteVerdict, headline

_NAMES: Mapping[Recipient, record.Recipient] = {
    Recipient.SERVER: "server",
    Recipient.SUM: "sum",
    Recipient.FINAL_MODEL: "final_model",
    Recipient.SITES: "sites",
}


def evidence(
    audit: Audit, verdicts: Sequence[SiteVerdict], validity: Validity, report: Path
) -> record.Evidence:
    """All that ``audit`` says.

    Args:
        audit: It.
        verdicts: Of its sites.
        validity: Until when it holds.
        report: The HTML file, which is written already.

    Raises:
        ValueError: Something in the audit directory cannot be vouched for.
        OSError: A file cannot be read.
    """
    classes = asked(audit)
    folder, place = audit.folder.resolve(), report.resolve()
    inside = place.is_relative_to(folder)
    return record.Evidence(
        made=datetime.datetime.fromisoformat(utc_now()),
        medleak=version("medleak"),
        job=audit.job,
        updates=len(mapping(audit.config.get("updates"))),
        headline=headline(verdicts),
        sites=[
            record.Site(site=v.site, verdict=v.light.value, why=v.why, who_was_in=v.who)
            for v in verdicts
        ],
        attack_classes=[_class(one) for one in classes],
        validity=record.Validity(
            made=[datetime.date.fromisoformat(day) for day in validity.made],
            by=validity.by,
            covers=validity.covers,
            due=list(validity.due),
            repeat_by=validity.repeat_by,
        ),
        sources=by_source(audit, classes, validity),
        unknown=[*not_examined([audit]), *wording.unknown(audit)],
        limits=list(wording.LIMITS),
        report=record.Report(
            name=place.relative_to(folder).as_posix() if inside else place.name,
            sha256=hashlib.sha256(place.read_bytes()).hexdigest(),
            inside=inside,
        ),
        files=files_of(folder),
    )


def as_bytes(found: record.Evidence) -> bytes:
    """As it is written and signed: UTF-8, one field a line."""
    content = found.model_dump(mode="json")
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def _class(one: Asked) -> record.AttackClass:
    return record.AttackClass(
        name=one.of.name,
        title=one.of.title,
        asks=one.of.asks,
        source=one.of.source,
        elsewhere=one.of.elsewhere,
        answers=[_answer(a) for a in one.answers],
    )


def _answer(answer: Answered) -> record.Answer:
    return record.Answer(
        recipient=_NAMES[answer.recipient],
        verdict=answer.light.value if answer.light is not None else "not tested",
        words=answer.words,
        measure=answer.measure or None,
        worst=_figure(answer.worst),
        where=answer.where or None,
        mean=_figure(answer.mean),
        chance=answer.chance,
    )


def _figure(figure: Figure) -> record.Figure:
    return record.Figure(value=figure.mean, lower95=figure.lower95, upper95=figure.upper95)
