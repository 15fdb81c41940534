"""Do the pictures that came back single out the patient's own image among many?"""

from medleak.inversion.linkage.findings import DOUBTFUL
from medleak.inversion.report.attack_classes.answer import (
    Answer,
    AttackClass,
    Recipient,
    not_tested,
)
from medleak.inversion.report.attack_classes.cases import unexamined
from medleak.inversion.report.attack_classes.sums import summed_over, who_sees
from medleak.inversion.report.model import Audit, Figure, Group
from medleak.inversion.report.texts import short
from medleak.inversion.report.verdicts import Light, reached_easy_case
from medleak.inversion.results.case import NO_DEFENCE
from medleak.inversion.results.rule import P_CHANCE


def answers(audit: Audit) -> list[Answer]:
    """Of the server from the updates as they were sent; of sums, where one was replayed."""
    found = _answer(audit, NO_DEFENCE, Recipient.SERVER, "")
    for defence, sites in summed_over(g.defence for g in audit.overall).items():
        for recipient in who_sees(audit, sites):
            found += _answer(audit, defence, recipient, f"sum over {sites} sites ({defence}): ")
    return found


def _answer(audit: Audit, defence: str, recipient: Recipient, words: str) -> list[Answer]:
    groups = [g for g in audit.overall if g.defence == defence]
    known = [g for g in groups if g.figure("iip").defined]
    if not known:
        whys = sorted({g.identification for g in groups if g.identification})
        return [not_tested(recipient, f"{words}{short(w, 300)}") for w in whys[:1]]
    judged = [(*_judged(audit, g), g) for g in known]
    light, why, top = min(judged, key=lambda j: (j[0].severity, -(j[2].figure("iip").mean or 0.0)))
    if light is Light.NONE_FOUND and (open := unexamined(audit, defence, {g.site for g in known})):
        light, why = Light.NOT_KNOWN, f"{open}; of others {why}"
    values = [g.figure("iip").mean or 0.0 for g in known]
    many = Figure(mean=sum(values) / len(values), n=len(values))
    return [
        Answer(
            recipient=recipient,
            light=light,
            words=f"{words}{top.site}: {why} ({short(top.identification, 200)})",
            measure="IIP",
            worst=top.figure("iip"),
            where=top.site,
            mean=top.figure("iip") if len(known) == 1 else many,
        )
    ]


def _judged(audit: Audit, group: Group) -> tuple[Light, str]:
    p, share = group.iip_p, group.figure("iip").mean or 0.0
    if p is None:
        return Light.NOT_KNOWN, "the audit does not say what chance would give"
    if p <= P_CHANCE and share > 0:
        return Light.LEAKS, "pictures are nearest to the patient's own image more than by chance"
    if p <= DOUBTFUL:
        return Light.MAY_LEAK, "whether more than by chance is not decided"
    if group.stuck or group.contradicted or not reached_easy_case(group, audit.health):
        return Light.NOT_KNOWN, "no more than by chance, but the attack may only have failed"
    return Light.NONE_FOUND, "no more than by chance"


CLASS = AttackClass(
    name="reidentification",
    title="Re-identification (IIP)",
    asks="Do rebuilt pictures single out the patient's own image among others?",
    source="Hatamizadeh et al. 2023, arXiv:2202.06924, section II-D",
    recipients=(Recipient.SERVER, Recipient.SUM, Recipient.FINAL_MODEL, Recipient.SITES),
    elsewhere="",
    answers=answers,
    missing="no picture of what this recipient sees was compared with a gallery of images",
)
"""Its row."""
