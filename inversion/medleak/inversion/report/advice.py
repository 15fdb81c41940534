"""What to do next, most urgent first: the part of the report that is acted on."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from medleak.inversion.plan import NO_DEFENCE
from medleak.inversion.report.model import Audit, Calibration, Group
from medleak.inversion.report.strengths import families
from medleak.inversion.report.texts import names, short
from medleak.inversion.report.verdicts import Light, SiteVerdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """One thing to do: a sentence, and lines to copy if there are any."""

    text: str
    copy: str = ""


def advice(audit: Audit, verdicts: Sequence[SiteVerdict]) -> list[Advice]:
    """What to do next, most urgent first."""
    found: list[Advice] = []
    calibrated = {c.site: c for c in audit.calibrations if c.strength is not None}
    bad = [v for v in verdicts if v.light in (Light.LEAKS, Light.MAY_LEAK)]
    leaking = [v.site for v in verdicts if v.light is Light.LEAKS]
    if leaking:
        found.append(
            Advice(
                text=f"Let {names(leaking)} send no further update without a protection that was "
                "tried on its own data. What was sent cannot be taken back: treat the stored "
                "updates as patient data."
            )
        )
    for verdict in bad:
        if (calibration := calibrated.get(verdict.site)) is not None:
            found.append(_paste(calibration))
    found += [a for v in bad if v.site not in calibrated and (a := _held(audit, v)) is not None]
    if open_sites := [v.site for v in bad if v.site not in calibrated]:
        found.append(
            Advice(
                text=f"Find the least noise at which {names(open_sites)} no longer "
                f"{'leaks' if len(open_sites) == 1 else 'leak'}, and what it costs in accuracy; "
                "then put the lines that it prints into the privacy.json of the site.",
                copy="\n".join(calibrate_command(audit, site) for site in open_sites[:9]),
            )
        )
    if unknown := [v for v in verdicts if v.light is Light.NOT_KNOWN]:
        found.append(
            Advice(
                text="Settle what is not known: "
                + "; ".join(f"{short(v.site)}: {v.why}" for v in unknown[:9])
                + ". Until then count these as leaking."
            )
        )
    if verdicts and all(v.light is Light.NONE_FOUND for v in verdicts):
        found.append(
            Advice(
                text="Keep the protections as they are, and audit again when the model, the "
                "number of images, the settings or the known attacks change."
            )
        )
    return found


def _held(audit: Audit, verdict: SiteVerdict) -> Advice | None:
    """The weakest of the replayed protections at which all attacks stayed at or below a guess."""
    groups: dict[str, list[Group]] = {}
    for group in audit.overall:
        if group.site == verdict.site and group.defence != NO_DEFENCE:
            groups.setdefault(group.defence, []).append(group)
    held = {
        defence
        for defence, members in groups.items()
        if all((u := g.figure("rdlv").upper95) is not None and u <= 0 for g in members)
    }
    stops = [s.defence for family in families(groups).values() for s in family]
    first = next((d for d in stops if d in held), None)
    if first is None:
        return None
    group = max(groups[first], key=lambda g: g.figure("rdlv").upper95 or 0.0)
    upper = group.figure("rdlv").upper95 or 0.0
    return Advice(
        text=f"For {short(verdict.site)}, {first} is the weakest protection replayed in this "
        f"audit under which nothing better than a guess came back (upper 95 % bound of RDLV "
        f"{upper:.2f}, {group.n} pictures). Confirm it by calibration before relying on it."
    )


def calibrate_command(audit: Audit, site: str) -> str:
    """The command that looks for the least noise; run, prior and truth as the audit named them."""
    runs = audit.config.get("runs")
    command = runs[-1].get("command", []) if isinstance(runs, list) and runs else []
    words = [str(w) for w in command] if isinstance(command, list) else []
    run = next((w for w in words[2:3] if not w.startswith("-")), "RUN")
    kept = [part for o in ("--prior", "--truth") for part in _option(words, o)]
    return shlex.join(["medleak", "calibrate", run, "--site", site, "--scope", "group", *kept])


def _option(words: Sequence[str], name: str) -> list[str]:
    """``name`` and its value, if the command had it."""
    place = words.index(name) if name in words[:-1] else None
    return [] if place is None else [name, words[place + 1]]


def _paste(calibration: Calibration) -> Advice:
    lines = calibration.privacy_json
    text = lines if isinstance(lines, str) else json.dumps(lines, indent=2, ensure_ascii=False)
    return Advice(
        text=f"Put these lines into the privacy.json of {short(calibration.site)}: "
        f"{calibration.text} is the least strength at which nothing came back better than a guess, "
        f"against the attacks tried ({calibration.why.rstrip('.')}).",
        copy=text if lines else "",
    )
