"""What to do next, most urgent first: the part of the report that is acted on."""

import itertools
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medleak.inversion.report import who
from medleak.inversion.report.attack_classes import canaries
from medleak.inversion.report.model import Audit, Calibration, Group
from medleak.inversion.report.texts import names, short
from medleak.inversion.report.verdicts import (
    Light,
    SiteVerdict,
    light_of,
    reached_easy_case,
)
from medleak.inversion.results.case import NO_DEFENCE
from medleak.inversion.results.strength import families

_MOST = 9
"""Sites with lines of their own; the tables have all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """One thing to do: a sentence, and lines to copy if there are any."""

    text: str
    copy: str = ""


def advice(audit: Audit, verdicts: Sequence[SiteVerdict]) -> list[Advice]:
    """What to do next, most urgent first."""
    if not verdicts:
        return [Advice(text="Audit again: nothing was attacked, so nothing can be said.")]
    found: list[Advice] = []
    calibrated = {c.site: c for c in audit.calibrations if c.strength is not None}
    bad = [v for v in verdicts if v.light in (Light.LEAKS, Light.FOUND, Light.MAY_LEAK)]
    if leaking := [v for v in verdicts if v.light is Light.LEAKS]:
        found.append(_stop(leaking))
    if untrue := canaries.refuted(audit):
        found.append(
            Advice(
                text=f"Do not rely on the ε of {names(untrue)}: planted canaries were recognised "
                "more often than it allows. Find what is not as declared (noise, clipping, "
                "sampling) before the site sends anything more, and count the ε as not given."
            )
        )
    if unlisted := [v.site for v in verdicts if v.light is Light.FOUND]:
        found.append(
            Advice(
                text=f"Look at what came back of {names(unlisted)}: the attack found images, and "
                "the list has none like them. Compare them with all that the site trained on, "
                "and with what its augmentation makes of it, and audit again with the list of "
                "that round (--truth). Until then count it as leaking."
            )
        )
    found += [_paste(calibrated[v.site]) for v in bad if v.site in calibrated][:_MOST]
    # What keeps images in need not hide who was in.
    held = (_held(audit, v) for v in bad if v.site not in calibrated and not _tells_who(audit, v))
    found += list(itertools.islice(filter(None, held), _MOST))
    telling = [v.site for v in bad if _tells_who(audit, v)]
    if telling:
        found.append(
            Advice(
                text=f"Find the least noise at which it can no longer be told who was in the data "
                f"of {names(telling)}: strengths that keep images in may be too weak for that.",
                copy="\n".join(
                    calibrate_command(audit, site, "membership") for site in telling[:_MOST]
                ),
            )
        )
    if open_sites := [v.site for v in bad if v.site not in {*calibrated, *telling}]:
        found.append(
            Advice(
                text=f"Find the least noise at which {names(open_sites)} no longer "
                f"{'leaks' if len(open_sites) == 1 else 'leak'}, and what it costs in accuracy; "
                "then put the lines that it prints into the privacy.json of the site.",
                copy="\n".join(calibrate_command(audit, site) for site in open_sites[:_MOST]),
            )
        )
    if unknown := [v for v in verdicts if v.light is Light.NOT_KNOWN]:
        found.append(_settle(audit, unknown))
    if all(v.light is Light.NONE_FOUND for v in verdicts) and not untrue:
        found.append(
            Advice(
                text="Keep protections and settings as they are. Audit again when the model, the "
                "number of images, the settings or the known attacks change."
            )
        )
    return found


def _tells_who(audit: Audit, verdict: SiteVerdict) -> bool:
    return who.leaks(audit, verdict.site)


def _stop(leaking: Sequence[SiteVerdict]) -> Advice:
    text = (
        f"Let {names(v.site for v in leaking)} send no further update without a protection that "
        "was tried on its own data. What was sent cannot be taken back: treat the stored updates "
        "as patient data."
    )
    in_vain: dict[str, list[str]] = {}
    for verdict in leaking:
        if verdict.group is not None and verdict.group.declared != NO_DEFENCE:
            in_vain.setdefault(verdict.group.declared, []).append(verdict.site)
    for declared, sites in list(in_vain.items())[:3]:
        text += f" The protection of {names(sites)}, {short(declared)}, did not prevent the leak."
    return Advice(text=text)


def _settle(audit: Audit, unknown: Sequence[SiteVerdict]) -> Advice:
    """What is not known, sites of one reason together, and how to come to know it."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for verdict in unknown:
        reasons.setdefault((verdict.why, _remedy(audit, verdict)), []).append(verdict.site)
    settled = [
        f"{names(sites)}: {short(why, 200)}. {remedy}"
        for (why, remedy), sites in list(reasons.items())[:_MOST]
    ]
    return Advice(
        text=f"Settle what is not known, and until then count it as leaking. {' '.join(settled)}"
    )


def _remedy(audit: Audit, verdict: SiteVerdict) -> str:
    group = verdict.group
    if group is None and any(m.site == verdict.site for m in audit.membership):
        return "Audit it with an attack as well: only who was in was asked."
    if group is None or any(r["case"]["site"] == verdict.site for r in audit.refused):
        return "Check the record (medleak records verify), and audit the site again."
    if not group.figure("ssim").defined:
        return "Audit again with the list of the site's images (--truth)."
    if group.contradicted:
        return (
            "Ask the site how it trained and how it normalises its images, and audit it again with "
            "that (--schedule, --mean, --std)."
        )
    if group.stuck:
        return "Audit again with more time for the attack, or further seeds."
    healthy = reached_easy_case(group, audit.health)
    if healthy is None:
        return "Audit again with the health check (without --no-health)."
    entry = audit.health.get(f"{group.attack}|{group.knowledge}")
    if isinstance(entry, Mapping) and entry.get("contradiction"):
        return "Ask the site how it normalises its images, correct the record, and audit it again."
    if not healthy:
        return "Audit again with more time for the attack, or with another one."
    return "Audit again with a prior of public images of this kind (medleak prior)."


def _held(audit: Audit, verdict: SiteVerdict) -> Advice | None:
    """The weakest of the replayed protections at which all attacks stayed at or below a guess."""
    groups: dict[str, list[Group]] = {}
    for group in audit.overall:
        if group.site == verdict.site and group.defence != NO_DEFENCE:
            groups.setdefault(group.defence, []).append(group)
    held = {
        defence: max(members, key=lambda g: g.figure("rdlv").upper95 or 0.0)
        for defence, members in groups.items()
        if all(_at_most_a_guess(g, audit) for g in members)
    }
    stops = [s.defence for family in families(groups).values() for s in family]
    first = next((d for d in stops if d in held), None)
    if first is None:
        return None
    group = held[first]
    doubt = ""
    if any(light_of(g, audit.health)[0] is not Light.NONE_FOUND for g in groups[first]):
        doubt = " The attack may only have failed: it got stuck, or no easy case shows its health."
    return Advice(
        text=f"For {short(verdict.site)}, {first} is the weakest protection replayed in this "
        f"audit under which nothing better than a guess came back (upper 95 % bound of RDLV "
        f"{group.figure('rdlv').upper95 or 0.0:.2f}, {group.n} "
        f"picture{'s' * (group.n != 1)}).{doubt} Confirm it by calibration before relying on it."
    )


def _at_most_a_guess(group: Group, audit: Audit) -> bool:
    """By its figures, and with nothing else by which the audit calls it a leak."""
    upper = group.figure("rdlv").upper95
    leaks = light_of(group, audit.health)[0] in (Light.LEAKS, Light.FOUND)
    return upper is not None and upper <= 0 and not leaks


def calibrate_command(audit: Audit, site: str, until: str = "") -> str:
    """The command that looks for the least noise; run, prior, truth and all that was said of the
    record as the audit had them. ``until``: see ``medleak calibrate``; empty: its default.
    """
    runs = audit.config.get("runs")
    last = runs[-1] if isinstance(runs, list) and runs else None
    command = last.get("command", []) if isinstance(last, Mapping) else []
    words = [str(w) for w in command] if isinstance(command, list) else []
    run = next((w for w in words[2:3] if not w.startswith("-")), "RUN")
    options = (*_KEPT, *(_KEPT_OF_MEMBERSHIP if until else ()))
    kept = [part for o in options for part in _option(words, o)]
    goal = ["--until", until] if until else []
    start = ["medleak", "calibrate", run, "--site", site, "--scope", "group"]
    return shlex.join([*start, *goal, *kept])


def _option(words: Sequence[str], name: str) -> list[str]:
    """``name`` and its value, if the command had it; of several the last, which counted."""
    found: list[str] = []
    for word, value in itertools.zip_longest(words, words[1:]):
        if word == name and value is not None:
            found = [name, value]
        elif word.startswith(f"{name}="):
            found = [name, word.removeprefix(f"{name}=")]
    return found


_KEPT = ("--prior", "--truth", "--schedule", "--input", "--mean", "--std", "--task", "--model")
_KEPT += ("--base",)
_KEPT_OF_MEMBERSHIP = ("--candidates", "--nonmembers")


def _paste(calibration: Calibration) -> Advice:
    lines = calibration.privacy_json
    if not lines:
        return Advice(
            text=f"{short(calibration.site)}: {calibration.text} is the least at which what came "
            "back cannot be told from what noise alone gives, against the attacks tried; it is "
            f"no filter of the site, the federation has to be run that way. {calibration.why}"
        )
    text = lines if isinstance(lines, str) else json.dumps(lines, indent=2, ensure_ascii=False)
    return Advice(
        text=f"Put these lines into the privacy.json of {short(calibration.site)}: "
        f"{calibration.text} is the least strength at which what came back cannot be told from "
        f"what noise alone gives, against the attacks tried. {calibration.why}",
        copy=text,
    )
