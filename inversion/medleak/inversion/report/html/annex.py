"""The annex: what an engineer needs to check the report, and an officer to file it."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medleak.filters.registry import ROWS
from medleak.inversion.report import wording
from medleak.inversion.report.html.said import Said, said
from medleak.inversion.report.model import Audit, Group
from medleak.inversion.report.texts import short
from medleak.inversion.report.values import listing, mapping
from medleak.inversion.report.verdicts import reached_easy_case
from medleak.inversion.results.case import NO_DEFENCE

_HASHES_SHOWN = 600
_FORMAL = (*(row.name for row in ROWS if row.formal), "dp_sgd")
_CHANNEL = (
    "The update as the server received it (recorded after the site's filters), and the model it "
    "was made from"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Threat:
    """One line of the threat model."""

    attacker: str
    source: str
    knows: Sequence[str]
    lacks: Sequence[str]
    channel: str
    health: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Annex:
    """Texts and tables; every value is shown as text."""

    threats: Sequence[Threat]
    said: Said
    settings: Sequence[tuple[str, str]]
    versions: Sequence[tuple[str, str]]
    hashes: Sequence[tuple[str, str, str]]
    hashes_left_out: int
    commands: Sequence[str]
    definitions: Sequence[tuple[str, str]]
    methods: Sequence[tuple[str, str]]
    protections: Sequence[tuple[str, str, str]]
    dpia: Sequence[tuple[str, str, Sequence[str], str]]


def annex(audit: Audit) -> Annex:
    """Everything that the audit directory says about how it came about."""
    runs = [r for r in listing(audit.config.get("runs")) if isinstance(r, Mapping)]
    updates = mapping(audit.config.get("updates"))
    hashes = [
        (name, str(mapping(h).get("global", "not read")), str(mapping(h).get("update", "")))
        for name, h in updates.items()
    ]
    versions = mapping(runs[-1].get("versions")) if runs else {}
    return Annex(
        threats=_threats(audit),
        said=said(audit.config),
        settings=_settings(audit),
        versions=[(str(k), str(v)) for k, v in versions.items()],
        hashes=hashes[:_HASHES_SHOWN],
        hashes_left_out=max(0, len(hashes) - _HASHES_SHOWN),
        commands=list(dict.fromkeys(shlex.join(map(str, listing(r.get("command")))) for r in runs)),
        definitions=[(str(k), str(v)) for k, v in audit.definitions.items()],
        methods=wording.protections(d for g in audit.groups for d in (g.declared, g.defence)),
        protections=_protections(audit),
        dpia=_dpia(audit),
    )


def _threats(audit: Audit) -> list[Threat]:
    pairs = {(g.attack, g.knowledge): g for g in audit.groups}
    return [_threat(audit, g) for g in pairs.values()]


def _threat(audit: Audit, group: Group) -> Threat:
    reached = reached_easy_case(group, audit.health)
    entry = mapping(audit.health.get(f"{group.attack}|{group.knowledge}"))
    score = entry.get("ssim")
    health = {
        None: "not checked on an easy case",
        True: "passed: it succeeds on an easy case",
        False: "failed: it does not succeed on an easy case either",
    }[reached]
    if isinstance(score, int | float):
        health += f" (SSIM {score:.2f})"
    if isinstance(against := entry.get("contradiction"), str) and against:
        health = f"void: {short(against, 400)}; the easy case shares that error"
    knows, lacks = wording.knew(audit, group.knowledge)
    return Threat(
        attacker=group.attack,
        source=wording.source(group.attack),
        knows=knows,
        lacks=lacks,
        channel=_CHANNEL,
        health=health,
    )


def _settings(audit: Audit) -> list[tuple[str, str]]:
    config = audit.config
    record, prior = mapping(config.get("record")), mapping(config.get("prior"))
    found = [
        ("job", str(record.get("job", "not known"))),
        ("manifest, SHA-256", str(record.get("manifest_sha256", "not known"))),
        ("prior", str(prior.get("source", "not known"))),
        ("prior, SHA-256", str(prior.get("sha256", "not known"))),
        ("seeds", ", ".join(map(str, listing(config.get("seeds")))) or "not known"),
        ("replayed defences", ", ".join(map(str, listing(config.get("defences")))) or "not known"),
    ]
    for name, settings in mapping(config.get("attacks")).items():
        found.append((f"attack {name}", json.dumps(settings, ensure_ascii=False)))
    # A list's path is of no use elsewhere, and its folders may be named after patients.
    without = [str(s) for s, path in mapping(config.get("truth")).items() if path is None]
    found.append(("sites without originals", ", ".join(without) or "none"))
    return found


def _protections(audit: Audit) -> list[tuple[str, str, str]]:
    """Site, what it declared, and whether a bound comes with it (without a ledger: as named)."""
    declared = {(g.site, g.declared) for g in audit.groups}
    return [(site, text, epsilon_words(text)) for site, text in sorted(declared)]


def epsilon_words(declared: str) -> str:
    """What ε a declared defence can have; the number itself only a ledger knows."""
    if declared == NO_DEFENCE:
        return "ε: none (no protection)"
    if any(name in declared for name in _FORMAL):
        return "has an ε: the site's ledger says how much is spent"
    return "ε: none (heuristic)"


def _dpia(audit: Audit) -> list[tuple[str, str, Sequence[str], str]]:
    """Article, title, what the audit knows, and what the controller has to add."""
    rounds = sorted({r.round for r in audit.rows})
    extent = f"{len(audit.sites)} sites, {len(rounds)} rounds, {len(audit.rows)} reconstructions"
    return [
        (
            "35(7)(a)",
            "Description of the processing and its purposes",
            [
                f"Federated training, job {short(audit.job)}. Sites send model updates, "
                "not images, to a server.",
                f"Audited here: {extent}.",
            ],
            "purposes, legitimate interest, categories of patients, recipients, storage periods",
        ),
        (
            "35(7)(b)",
            "Necessity and proportionality",
            ["Calibration and accuracy, where they were measured, show what protection costs."],
            "why federated training is needed, legal basis, why less data would not do",
        ),
        (
            "35(7)(c)",
            "Risks to the rights and freedoms of the patients",
            [
                "Reconstruction of training images by whoever sees the updates; extent by site on "
                "the first page, threat model and limits in this annex.",
            ],
            "likelihood that such an attacker exists here, severity for those concerned",
        ),
        (
            "35(7)(d)",
            "Measures that address the risks",
            [
                f"{short(site, 60)}: {wording.defence(text)}; {epsilon}."
                for site, text, epsilon in _protections(audit)[:20]
            ]
            or ["None is known to the audit."],
            "access control, retention of updates, contracts, transport security",
        ),
    ]
