"""The words of the report for people who have not read the papers."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from medleak.filters import registry as defences
from medleak.inversion.attacks.registry import ATTACKS, attack_name, row_of
from medleak.inversion.report import who
from medleak.inversion.report.attack_classes.registry import asked
from medleak.inversion.report.completeness import left_out
from medleak.inversion.report.model import Audit, Figure
from medleak.inversion.report.texts import listed, names, ranges, short
from medleak.inversion.report.verdicts import reached_easy_case
from medleak.inversion.results.case import AVERAGE, NO_DEFENCE
from medleak.inversion.results.strength import names_of

KNOWLEDGE = {
    "global_model": "the model that was sent to the site",
    "bn_statistics": "its batch-norm statistics, before and after",
    "batch_size": "how many images go into a training step",
    "lr": "the learning rate",
    "n_images": "how many images the site has",
    "prior": "a mean picture made of public images",
    "channels": "whether the images are gray or in colour",
    "model_round": "the model's round",
    "prior_image": "what stands for the mean picture",
}
"""Fields of `medleak.inversion.knowledge.Knowledge`."""

_USUAL = {"model_round": "current", "prior_image": "given"}
"""Values that say no more than `KNOWLEDGE` does."""

_LABELS = {
    "known": "the diagnosis (label) of each image",
    "inferred": "no diagnoses: they were worked out from the update",
    "optimised": "no diagnoses: they were searched for together with the images",
}


def source(attack: str) -> str:
    """Where an attack comes from, and whether it joins rounds."""
    row = row_of(attack_name(attack))
    found = "not one of medleak's own" if row is None else f"{row.words}. {row.source}"
    joined = "; joins a site's updates of all rounds up to the one named"
    return found + joined * attack.startswith(AVERAGE)


def protections(texts: Iterable[str]) -> list[tuple[str, str]]:
    """Each of medleak's defences that ``texts`` name, and what it does, as its row says."""
    used = {name for text in texts for name in names_of(text)}
    return [(r.name, f"{r.words}. {r.source}") for r in defences.ROWS if r.name in used]


REFERENCES = (
    "Hatamizadeh et al., Do Gradient Inversion Attacks Make Federated Learning Unsafe? IEEE TMI "
    "2023, arXiv:2202.06924 (RDLV, IIP, percentile noise, the attack epochwise_bn).",
    "Das et al., In-depth Analysis of Privacy Threats in Federated Learning for Medical Data, "
    "arXiv:2409.18907 (MedPFL: attack success rate).",
    "Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity, IEEE "
    "TIP 2004 (SSIM).",
    "Regulation (EU) 2016/679 (GDPR), Article 35(7): what an impact assessment contains.",
)

LIMITS = (
    "A leak that is shown is a fact. A leak that is not shown is no fact: a stronger attack, more "
    "knowledge or more computing may find it. Nothing here certifies anything.",
    "SSIM compares structure, not meaning: a picture of low SSIM may still show a finding, an "
    "implant or a burned-in name. Look at the pictures.",
    "Only what the recorder kept was attacked, and the final model where the table of attacks has "
    "figures of it. Logs, metrics and what other software sends are not covered.",
    "A simulation on other images than the site's own says little about the site's own.",
)


def knew(audit: Audit, knowledge: str) -> tuple[list[str], list[str]]:
    """What the attacker knew and what was withheld, a phrase each."""
    settings = audit.config.get("knowledge")
    fields = settings.get(knowledge) if isinstance(settings, Mapping) else None
    if not isinstance(fields, Mapping):
        return [knowledge], []
    granted = [_knowledge(str(k), v) for k, v in fields.items() if k != "labels" and v is not False]
    granted = [words for words in granted if words]
    withheld = [KNOWLEDGE.get(str(k), str(k)) for k, v in fields.items() if v is False]
    labels = _LABELS.get(str(fields.get("labels")))
    return ([*granted, labels] if labels else granted), withheld


def _knowledge(name: str, value: Any) -> str:
    words = KNOWLEDGE.get(name, name.replace("_", " "))
    if name in _USUAL and value == _USUAL[name]:
        return ""
    return words if value is True else f"{words}: {value}"


def tried(audit: Audit) -> str:
    """Attacks, rounds, runs and replayed protections in one line."""
    attacks = list(dict.fromkeys(short(g.attack, 60) for g in audit.groups))
    rounds = sorted({r.round for r in audit.rows})
    seeds = max((g.seeds for g in audit.groups), default=0)
    replayed = {g.defence for g in (*audit.groups, *audit.membership)} - {NO_DEFENCE}
    parts = [
        f"attack{'s' * (len(attacks) != 1)} {listed(attacks) or 'none'}",
        f"round{'s' * (len(rounds) != 1)} {ranges(rounds) or 'none'}",
        f"{seeds} run{'s' * (seeds != 1)} of each",
        f"{len(audit.rows)} picture{'s' * (len(audit.rows) != 1)} rebuilt",
    ]
    if asked := len(audit.membership):
        parts.append(f"who was in: asked {asked} time{'s' * (asked != 1)}")
    if replayed:
        many = f"{len(replayed)} protection{'s' * (len(replayed) != 1)}"
        parts.append(f"as sent, and under {many} put on afterwards")
    return "; ".join(parts)


def unknown(audit: Audit) -> list[str]:
    """What this audit does not tell, a sentence each."""
    found = list(_gaps(audit))
    if untried := sorted(set(ATTACKS) - {attack_name(g.attack) for g in audit.groups}):
        found.append(f"Attacks of medleak that were not tried: {', '.join(untried)}.")
    found.append("What attacks would find that nobody has published yet.")
    return [*found, *(f"The audit lacks {m}." for m in audit.missing)]


def _gaps(audit: Audit) -> Iterator[str]:
    groups = audit.overall or list(audit.groups)
    if silent := [one.of.title for one in asked(audit) if not one.leading.tested]:
        yield f"Classes of attack that were not tested at all: {', '.join(silent).lower()}."
    for text in left_out(audit):
        yield f"{text[0].upper()}{text[1:]}."
    if untested := who.untested(audit):
        yield (
            f"Whether it can be told that a patient was in the data of {untested}: not tested. "
            "medleak audit --candidates asks."
        )
    if no_truth := names(g.site for g in groups if not g.figure("ssim").defined):
        yield f"How close the pictures of {no_truth} are: there is no original to compare with."
    undefined = [g for g in groups if g.figure("ssim").defined and not g.figure("rdlv").defined]
    if sites := names(g.site for g in undefined):
        yield (
            f"The relative leakage (RDLV) of {sites}: undefined, as the guess from public images "
            "resembles the originals too little (SSIM below 0.05)."
        )
    if one := names(g.site for g in groups if g.figure("ssim").n == 1):
        yield f"How much {one} would leak with other images: only one was measured, so no interval."
    if groups and max(g.seeds for g in groups) == 1:
        yield "How much luck is in it: each attack ran once (one seed)."
    if len({g.knowledge for g in groups}) == 1 and groups:
        yield "What an attacker with more or less knowledge would get: one case was tried."
    unchecked = {g.attack for g in groups if reached_easy_case(g, audit.health) is None}
    if unchecked:
        yield (
            f"Whether {', '.join(sorted(unchecked))} works at all on this model: it was not tried "
            "on an easy case (health check). This matters where nothing came back."
        )
    if identified := {g.identification for g in groups if not g.figure("iip").defined}:
        why = sorted(identified)[0].removeprefix("none: ").partition(". ")[0].rstrip(".")
        yield f"Whether pictures single out the patient's own image among others (IIP): {why}."
    if runs := names(g.site for g in groups if g.over == "runs"):
        yield f"How much other images of {runs} would leak: the interval is over runs on one image."
    if stuck := names(g.site for g in groups if g.stuck):
        yield f"The most that {stuck} leaks: the attack stopped short there by its own measure."
    if audit.refused:
        many = f"{len(audit.refused)} case{'s' * (len(audit.refused) != 1)}"
        yield f"Whatever is in {many} that could not be attacked (see Figures, Not attacked)."
    if not audit.utility and not any(c.utility for c in audit.calibrations):
        yield "What protection costs in accuracy: no such runs were given (utility.json)."


def figure(value: Figure, digits: int = 2) -> str:
    """``0.71 [0.60, 0.80]``; in words where there is no figure or no interval."""
    if value.mean is None:
        return "undefined"
    text = f"{value.mean:.{digits}f}"
    if value.lower95 is not None and value.upper95 is not None:
        return f"{text} [{value.lower95:.{digits}f}, {value.upper95:.{digits}f}]"
    return f"{text} (one picture)" if value.n == 1 else f"{text} (no interval)"


def defence(text: str) -> str:
    """A defence for a sentence."""
    return "nothing" if text == NO_DEFENCE else text
