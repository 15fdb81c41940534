"""Can it be told that somebody's image was in the data?"""

from collections.abc import Sequence

from medleak.inversion.report import who
from medleak.inversion.report.attack_classes import final_model
from medleak.inversion.report.attack_classes.answer import Answer, AttackClass, Recipient
from medleak.inversion.report.attack_classes.cases import unexamined
from medleak.inversion.report.attack_classes.sums import summed_over, who_sees
from medleak.inversion.report.model import Audit, Figure, Membership
from medleak.inversion.report.texts import short
from medleak.inversion.report.verdicts import Light
from medleak.inversion.results.case import NO_DEFENCE

_CHANCE = 0.5


def answers(audit: Audit) -> list[Answer]:
    """Of the server from the updates as they were sent, of sums, where one was replayed, and of
    the final model, where it was asked.
    """
    asked = [m for m in audit.membership if m.defence == NO_DEFENCE]
    found = [_answer(audit, asked, Recipient.SERVER, "")] if asked else []
    for defence, sites in summed_over(m.defence for m in audit.membership).items():
        of = [m for m in audit.membership if m.defence == defence]
        words = f"sum over {sites} sites ({defence}): "
        found += [_answer(audit, of, recipient, words) for recipient in who_sees(audit, sites)]
    return [*found, *final_model.members(audit)]


def _answer(audit: Audit, asked: Sequence[Membership], recipient: Recipient, words: str) -> Answer:
    top = min(asked, key=who.badness)
    light = light_of(top)
    text = short(top.sentence or "the audit gives no verdict", 500)
    if light is Light.NONE_FOUND and (
        open := unexamined(audit, top.defence, {m.site for m in asked}, membership=True)
    ):
        light, text = Light.NOT_KNOWN, f"{open}; of others {text}"
    aucs = [m for m in asked if m.figures.get("auc", Figure()).defined]
    values = [m.figures["auc"].mean or 0.0 for m in aucs]
    most = max(aucs, key=lambda m: m.figures["auc"].mean or 0.0, default=None)
    mean = Figure() if most is None else Figure(mean=sum(values) / len(values), n=len(values))
    return Answer(
        recipient=recipient,
        light=light,
        words=f"{words}{top.site}: {text}",
        measure="AUC" if aucs else "",
        worst=Figure() if most is None else most.figures["auc"],
        where="" if most is None else most.site,
        mean=most.figures["auc"] if most is not None and len(values) == 1 else mean,
        chance=_CHANCE if aucs else None,
    )


def light_of(answer: Membership) -> Light:
    """The light of one answer; what is flawed is not known, as little as what is missing."""
    if answer.kind == "leaks":
        return Light.LEAKS
    if answer.kind == "no_leak_found" and answer.flaws == []:
        return Light.NONE_FOUND
    if answer.kind == "inconclusive" and answer.flaws == []:
        return Light.MAY_LEAK
    return Light.NOT_KNOWN


CLASS = AttackClass(
    name="membership_inference",
    title="Membership inference",
    asks="Can it be told that a patient's image was in the data?",
    source="Shokri et al. 2017, arXiv:1610.05820; Carlini et al. 2022, arXiv:2112.03570",
    recipients=tuple(Recipient),
    elsewhere="",
    answers=answers,
    missing="nobody asked it of what this recipient sees (medleak audit --candidates)",
)
"""Its row."""
