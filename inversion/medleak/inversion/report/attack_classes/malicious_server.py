"""Does the server send models that are made to read images out of the updates?

That nothing was odd is never "no leak found": an attack that fails was seen to work on an easy
case, and of a check there is no such thing; which traps it misses is measured.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from medleak.inversion.report.attack_classes.answer import Answer, AttackClass, Recipient
from medleak.inversion.report.model import Audit
from medleak.inversion.report.texts import short
from medleak.inversion.report.values import listing, mapping, text
from medleak.inversion.report.verdicts import Light

FILE = "sentinel.json"
"""As `medleak.inversion.audit.beside.sentinel` writes it."""

UNSEEN = "a trap that moves as slowly as training, or leans in a wide hidden layer, is not seen"
NOT_LOOKED = "not tested: nobody looked at the models that it was sent (medleak sentinel RUN)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What the sentinel saw of one site.

    Attributes:
        models: How many were looked at; ``odd``: how many of them look like traps.
        light: None: not tested, as ``words`` say why.
        complete: Every check could judge every model.
    """

    site: str
    models: int
    odd: int
    light: Light | None
    words: str
    complete: bool = False


def lines(audit: Audit) -> list[Line]:
    """One line a site of the audit, those of which nothing is known included."""
    content = mapping(audit.beside.get(FILE))
    sites = mapping(content.get("sites"))
    whys = {text(w.get("what")): w for w in map(mapping, listing(content.get("not_tested")))}
    asked = {str(u) for u in listing(content.get("updates"))}
    later = {u for u in mapping(audit.config.get("updates")) if str(u) not in asked}
    found = []
    for site in audit.sites:
        why = whys.get(site) or whys.get("")
        if site in sites:
            unseen = any(str(u).partition("/")[2] == site for u in later)
            found.append(_line(site, mapping(sites[site]), unseen))
        elif why is not None:
            found.append(_untested(site, f"not tested: {short(text(why.get('why')), 300)}"))
        else:
            found.append(_untested(site, NOT_LOOKED))
    return found


def _untested(site: str, why: str) -> Line:
    return Line(site=site, models=0, odd=0, light=None, words=why)


def _line(site: str, told: Mapping[str, Any], unseen: bool) -> Line:
    models = [m for m in map(mapping, listing(told.get("models"))) if isinstance(m, dict) and m]
    if not models:
        return _untested(site, NOT_LOOKED)
    odd = [m for m in models if m.get("odd")]
    complete = not unseen and told.get("all_examined") is True
    if odd:
        light, words = Light.MAY_LEAK, f"round {odd[0].get('round')}: {text(odd[0].get('line'))}"
    elif unseen:
        light, words = Light.NOT_KNOWN, "the audit went on, and later models were not looked at"
    elif not complete:
        unknown = {text(c) for m in models for c in listing(m.get("not_examined"))}
        light = Light.NOT_KNOWN
        words = f"nothing odd, but not every check could judge ({', '.join(sorted(unknown))})"
        words += ": a first model has none before it, and a step is judged by the next"
    else:
        light, words = Light.NOT_KNOWN, f"nothing odd; {UNSEEN}"
    return Line(
        site=site,
        models=len(models),
        odd=len(odd),
        light=light,
        words=short(words, 400),
        complete=complete,
    )


def answers(audit: Audit) -> list[Answer]:
    """The worst of the sites; for a server that sees sums as well: it sends the same models."""
    seen = lines(audit)
    looked = [one for one in seen if one.light is not None]
    if not looked:
        return []
    worst = min(looked, key=lambda one: (one.light.severity if one.light else 0, one.complete))
    light, words = worst.light, f"{worst.site}: {worst.words}"
    odd = sum(one.odd > 0 for one in looked)
    if odd:
        words = f"{odd} of {len(seen)} sites were sent models that look like traps; {words}"
    elif len(looked) < len(seen):
        words = f"of {len(seen) - len(looked)} sites it is not known; {words}"
    return [
        Answer(recipient=recipient, light=light, words=words)
        for recipient in (Recipient.SERVER, Recipient.SUM)
    ]


CLASS = AttackClass(
    name="malicious_server",
    title="Malicious server",
    asks="Were the models that were sent made to read images out of the updates?",
    source="Fowl et al. 2022, arXiv:2110.13057; Boenisch et al. 2023, arXiv:2112.02918",
    recipients=(Recipient.SERVER, Recipient.SUM),
    elsewhere="it does not choose what model is sent",
    answers=answers,
    missing="the models that were sent were not looked at for traps (medleak sentinel)",
    file=FILE,
)
"""Its row."""
