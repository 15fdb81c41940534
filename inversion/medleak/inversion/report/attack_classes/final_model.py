"""What the trained model alone gives away, when training is over: to its holder, and to sites."""

from collections.abc import Mapping
from typing import Any

from medleak.inversion.report.attack_classes.answer import (
    Answer,
    AttackClass,
    Recipient,
    not_tested,
)
from medleak.inversion.report.model import Audit, Figure
from medleak.inversion.report.texts import short
from medleak.inversion.report.values import listing, mapping, number, roc, share, text
from medleak.inversion.report.verdicts import Light

FILE = "final_model.json"
"""As ``medleak final-model --out`` writes it."""

_KNOWN, _LEAD, _CLOSE = 0.9, 0.15, 0.6
_SITES = "of the models that a site gets in each round the last alone was looked at"


def inversions(audit: Audit) -> list[Answer]:
    """Whether training images came out of the model."""
    return _both(_asked(audit, "inversion", _inversion))


def members(audit: Audit) -> list[Answer]:
    """Whether the model tells who was in."""
    return _both(_asked(audit, "membership", _membership))


def curve(audit: Audit) -> Mapping[float, Figure]:
    """How members are told at few false alarms; empty where nobody asked."""
    found = mapping(mapping(audit.beside.get(FILE)).get("membership"))
    return roc(mapping(found.get("separation")))


def _asked(audit: Audit, what: str, answer: Any) -> Answer | None:
    content = mapping(audit.beside.get(FILE))
    found = mapping(content.get(what))
    if found:
        return answer(found)
    whys = [mapping(w) for w in listing(content.get("not_tested"))]
    why = next((text(w.get("why")) for w in whys if w.get("what") in (what, "")), "")
    return not_tested(Recipient.FINAL_MODEL, short(why, 400)) if why else None


def _both(found: Answer | None) -> list[Answer]:
    """Of the holder; what leaks from the last model leaks to sites, which had it, too."""
    if found is None:
        return []
    if found.light is not Light.LEAKS:
        return [found, not_tested(Recipient.SITES, _SITES)]
    site = Answer(
        recipient=Recipient.SITES,
        light=found.light,
        words=f"by the last model alone: {found.words}",
        measure=found.measure,
        worst=found.worst,
        where=found.where,
        mean=found.mean,
        chance=found.chance,
    )
    return [found, site]


def _inversion(found: Mapping[str, Any]) -> Answer:
    names = ("best", "nobody", "lead", "easy")
    best, nobody, lead, easy = (number(found.get(name)) for name in names)
    light = Light.NOT_KNOWN
    if text(found.get("kind")) == "leaks":
        light = Light.LEAKS
    elif text(found.get("kind")) == "no leak found" and None not in (best, lead, easy):
        low = (best or 0.0) < _KNOWN and (lead or 0.0) < _LEAD and (easy or 0.0) >= _LEAD
        light = Light.NONE_FOUND if low else Light.NOT_KNOWN
    figure = Figure() if best is None else Figure(mean=best)
    return Answer(
        recipient=Recipient.FINAL_MODEL,
        light=light,
        words=short(text(found.get("verdict")) or "there is no verdict", 500),
        measure="" if best is None else "SSIM",
        worst=figure,
        where="" if best is None else "final model",
        mean=figure,
        chance=nobody,
    )


def _membership(found: Mapping[str, Any]) -> Answer:
    figure = share(mapping(found.get("separation")).get("auc"))
    known, high = figure.defined, figure.upper95
    kind, sound = text(found.get("verdict_kind")), found.get("flaws") == []
    light = Light.NOT_KNOWN
    if kind == "leaks":
        light = Light.LEAKS
    elif kind == "no_leak_found" and sound and known and (high or 1.0) <= _CLOSE:
        light = Light.NONE_FOUND
    elif kind == "inconclusive" and sound:
        light = Light.MAY_LEAK
    return Answer(
        recipient=Recipient.FINAL_MODEL,
        light=light,
        words=short(text(found.get("verdict")) or "there is no verdict", 500),
        measure="AUC" if known else "",
        worst=figure,
        where="final model" if known else "",
        mean=figure,
        chance=0.5 if known else None,
    )


CLASS = AttackClass(
    name="model_inversion",
    title="Inversion of the final model",
    asks="Do training images come out of the trained model alone?",
    source="Fredrikson et al. 2015, doi:10.1145/2810103.2813677; Yin et al. 2020, arXiv:1912.08795",
    recipients=(Recipient.FINAL_MODEL, Recipient.SITES),
    elsewhere="a server has more than the model; see reconstruction",
    answers=inversions,
    missing="only updates were attacked, not the trained model (medleak final-model)",
    file=FILE,
)
"""Its row."""
