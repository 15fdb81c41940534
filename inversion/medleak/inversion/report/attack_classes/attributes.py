"""What updates tell of the patients of a site, and of whose they are, without any image."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from medleak.inversion.linkage.findings import SURE, WHOSE
from medleak.inversion.report.attack_classes.answer import (
    Answer,
    AttackClass,
    Recipient,
    not_tested,
)
from medleak.inversion.report.model import Audit, Figure
from medleak.inversion.report.texts import short
from medleak.inversion.report.values import listing, mapping, number, text
from medleak.inversion.report.verdicts import Light

FILE = "attributes.json"
"""As `medleak.inversion.audit.beside.attributes` writes it."""

_LIGHTS = {"told": Light.LEAKS, "not told": Light.NONE_FOUND}


def of_patients(audit: Audit) -> list[Answer]:
    """Attributes of the patients of a site, such as shares of classes."""
    return list(_answers(audit, site=False))


def of_sites(audit: Audit) -> list[Answer]:
    """Whose an update is."""
    return list(_answers(audit, site=True))


def _answers(audit: Audit, *, site: bool) -> Iterator[Answer]:
    content = mapping(audit.beside.get(FILE))
    told = [t for t in map(mapping, listing(content.get("told"))) if text(t.get("what"))]
    told = [t for t in told if (t["what"] == WHOSE) == site]
    whys = [mapping(w) for w in listing(content.get("not_tested"))]
    whys = [w for w in whys if (w.get("what") == WHOSE) == site or not w.get("what")]
    why = short(text(whys[0].get("why")), 400) if whys else ""
    if not told:
        if whys:
            yield not_tested(Recipient.SERVER, why)
        return
    unseen = set(map(str, mapping(audit.config.get("updates")))) - set(
        map(str, listing(content.get("updates")))
    )
    top = max(told, key=lambda t: (-_light(t).severity, number(t.get("value")) or 0.0))
    light, words = _light(top), text(top.get("verdict")) or "the audit gives no verdict"
    if unseen and light is Light.NONE_FOUND:
        light, words = Light.NOT_KNOWN, f"{len(unseen)} updates were not compared; {words}"
    if whys and light is Light.NONE_FOUND:
        light, words = Light.NOT_KNOWN, f"not all was compared ({why}); {words}"
    values = [v for t in told if (v := number(t.get("value"))) is not None]
    yield Answer(
        recipient=Recipient.SERVER,
        light=light,
        words=short(words, 400),
        measure=short(text(top.get("measure")), 60),
        worst=_figure(top),
        where=short(text(top.get("what")), 60),
        mean=_figure(top) if len(told) == 1 else _mean(values),
        chance=number(top.get("chance")),
    )


def _mean(values: Sequence[float]) -> Figure:
    return Figure(mean=sum(values) / len(values), n=len(values)) if values else Figure()


def _figure(told: Mapping[str, Any]) -> Figure:
    value, low, high = (number(told.get(k)) for k in ("value", "lower95", "upper95"))
    if value is None:
        return Figure()
    known = low is not None and high is not None and low <= value <= high
    return Figure(mean=value, lower95=low if known else None, upper95=high if known else None)


def _light(told: Mapping[str, Any]) -> Light:
    """By the audit's own word, and never better than its p-value allows."""
    light = _LIGHTS.get(text(told.get("kind")), Light.NOT_KNOWN)
    p = number(told.get("p"))
    if light is Light.NONE_FOUND and (p is None or p <= SURE):
        return Light.NOT_KNOWN
    return light


_SOURCE = "Melis et al. 2019, arXiv:1805.04049"
PATIENTS = AttackClass(
    name="attribute_inference",
    title="Attribute inference",
    asks="Does an update tell what a site's patients are like?",
    source=_SOURCE,
    recipients=(Recipient.SERVER, Recipient.SUM, Recipient.FINAL_MODEL, Recipient.SITES),
    elsewhere="",
    answers=of_patients,
    missing="medleak compares single updates of named sites alone (medleak audit; --shares)",
    file=FILE,
)
"""The row of attributes."""

SITES = AttackClass(
    name="site_inference",
    title="Site inference",
    asks="Can an update without a name be given to its site?",
    source=f"{_SOURCE}; permutation: Phipson & Smyth 2010, doi:10.2202/1544-6115.1585",
    recipients=(Recipient.SERVER,),
    elsewhere="no single site's update reaches it",
    answers=of_sites,
    missing="medleak audit of at least two rounds of two sites asks it",
    file=FILE,
)
"""The row of sites."""
