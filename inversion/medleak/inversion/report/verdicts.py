"""The traffic light: one word a site, the rule that set it, and what to do next."""

import enum
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medleak.inversion.plan import NO_DEFENCE
from medleak.inversion.report.model import Audit, Calibration, Group
from medleak.inversion.report.reading import SUCCESS_SSIM
from medleak.inversion.report.strengths import families
from medleak.inversion.results import Row


class Light(enum.Enum):
    """Worst first. Each has a word, a shape and a colour, as a colour alone is not read by all."""

    LEAKS = "leaks"
    MAY_LEAK = "may leak"
    NOT_KNOWN = "not known"
    NONE_FOUND = "no leak found"

    @property
    def severity(self) -> int:
        """0 is the worst."""
        return list(Light).index(self)


RULES: Mapping[Light, str] = {
    Light.LEAKS: "What came back resembles the patients' images more than a guess from public "
    "images does: the lower 95 % bound of the mean RDLV is above 0 (with a single image: its RDLV "
    f"is); or an image came back almost whole (SSIM of {SUCCESS_SSIM} or more).",
    Light.MAY_LEAK: "Not shown, and not excluded: the upper 95 % bound of the mean RDLV is above 0 "
    "or unknown, or a single image came back closer than the guess.",
    Light.NOT_KNOWN: "Nothing can be said: no original to compare with, an undefined RDLV, an "
    "update that could not be attacked, or an attack that was not shown to work at all.",
    Light.NONE_FOUND: "The upper 95 % bound is at or below 0, no single image came back closer "
    "than the guess, and the same attack did succeed on an easy case. This holds for these attacks "
    "with this knowledge alone; a stronger one may find more.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """One thing to do: a sentence, and lines to copy if there are any."""

    text: str
    copy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteVerdict:
    """What the first page says of a site.

    Attributes:
        group: The figures that decided, None if there are none.
        best: The reconstruction that is most like its original, of those that decided.
        replayed: The defence that was replayed, where the update was not attacked as it was sent.
    """

    site: str
    light: Light
    why: str
    group: Group | None
    best: Row | None
    replayed: str | None


def light_of(group: Group, health: Mapping[str, object]) -> tuple[Light, str]:
    """The light of one group by `RULES`, and the reason in words."""
    ssim, rdlv = group.figure("ssim"), group.figure("rdlv")
    if not ssim.defined:
        return Light.NOT_KNOWN, "no original to compare with: look at the pictures"
    best = ssim.max if ssim.max is not None else ssim.mean or 0.0
    if best >= SUCCESS_SSIM:
        return Light.LEAKS, f"an image came back almost whole (SSIM {best:.2f})"
    if rdlv.mean is None:
        return (
            Light.NOT_KNOWN,
            "RDLV is undefined: the guess from public images resembles the originals too little "
            "to measure against",
        )
    if rdlv.n == 1 and rdlv.mean > 0:
        return Light.LEAKS, "the one image came back closer than the guess"
    if rdlv.lower95 is not None and rdlv.lower95 > 0:
        return Light.LEAKS, "images come back closer than the guess"
    if rdlv.max is not None and rdlv.max > 0:
        return Light.MAY_LEAK, "some images came back closer than the guess, the mean is not shown"
    if rdlv.n > 1 and rdlv.upper95 is None:
        return Light.MAY_LEAK, "the interval is not known"
    if rdlv.upper95 is not None and rdlv.upper95 > 0:
        return Light.MAY_LEAK, "the interval does not exclude a leak"
    return _nothing_found(group, health)


def _nothing_found(group: Group, health: Mapping[str, object]) -> tuple[Light, str]:
    if group.stuck:
        return Light.NOT_KNOWN, "nothing came back, but the attack failed by its own measure"
    reached = reached_easy_case(group, health)
    if reached is None:
        return (
            Light.NOT_KNOWN,
            "nothing came back, but the attack was not tried on an easy case: it may be broken",
        )
    if not reached:
        return Light.NOT_KNOWN, "nothing came back, but the attack failed on an easy case too"
    return Light.NONE_FOUND, "nothing came back that a guess would not reach"


def reached_easy_case(group: Group, health: Mapping[str, object]) -> bool | None:
    """Whether the group's attack was seen to work; None: it was not tried."""
    entry = health.get(f"{group.attack}|{group.knowledge}")
    reached = entry.get("reached") if isinstance(entry, Mapping) else None
    return reached if isinstance(reached, bool) else None


def site_verdicts(audit: Audit) -> list[SiteVerdict]:
    """One verdict a site, worst first: that of its worst group, as sent where that was attacked."""
    found = [_site(audit, site) for site in audit.sites]
    return sorted(found, key=lambda v: (v.light.severity, -_leak(v.group)))


def _site(audit: Audit, site: str) -> SiteVerdict:
    groups = [g for g in audit.overall if g.site == site]
    groups = groups or [g for g in audit.groups if g.site == site]
    deciding, replayed = _as_sent(groups)
    refused = [str(r.get("why", "")) for r in audit.refused if r["case"]["site"] == site]
    if not deciding:
        why = f"its update could not be attacked: {refused[0]}" if refused else "not attacked"
        return SiteVerdict(
            site=site, light=Light.NOT_KNOWN, why=why, group=None, best=None, replayed=None
        )
    judged = [(*light_of(g, audit.health), g) for g in deciding]
    light, why, group = min(judged, key=lambda j: (j[0].severity, -(_leak(j[2]))))
    if refused and light is Light.NONE_FOUND:
        light, why = Light.NOT_KNOWN, f"{len(refused)} of its updates could not be attacked"
    rows = [r for r in audit.rows if r.site == site and r.defence == group.defence]
    best = max(rows, key=lambda r: -2.0 if r.ssim is None else r.ssim, default=None)
    return SiteVerdict(site=site, light=light, why=why, group=group, best=best, replayed=replayed)


def _leak(group: Group | None) -> float:
    rdlv = None if group is None else group.figure("rdlv").mean
    return -1.0 if rdlv is None else rdlv


def _as_sent(groups: Sequence[Group]) -> tuple[list[Group], str | None]:
    """Groups without a replayed defence; if there are none, those of the weakest one."""
    sent = [g for g in groups if g.defence == NO_DEFENCE]
    if sent or not groups:
        return sent, None
    weakest = next(iter(families(g.defence for g in groups).values()))[0].defence
    return [g for g in groups if g.defence == weakest], weakest


def _few(sites: Sequence[str], total: int) -> str:
    """Their names where they are few and short, else how many of them."""
    if len(sites) <= 3 and sum(map(len, sites)) <= 60:
        return _names(sites)
    return f"{len(sites)} of {total} sites"


def headline(verdicts: Sequence[SiteVerdict]) -> str:
    """The report's first sentence."""
    count = {light: [v.site for v in verdicts if v.light is light] for light in Light}
    total = len(verdicts)
    if not total:
        return "Nothing was attacked, so nothing is known."
    if leaking := count[Light.LEAKS]:
        rest = "leaks its patients' images" if len(leaking) == 1 else "leak their patients' images"
        return f"{_few(leaking, total)} {rest}."
    if may := count[Light.MAY_LEAK]:
        return f"{_few(may, total)} may leak: a leak is neither shown nor excluded."
    if len(count[Light.NONE_FOUND]) == total:
        return "No leak was found by the attacks that were tried."
    return "What leaks is not known: the measurement is incomplete."


def advice(audit: Audit, verdicts: Sequence[SiteVerdict]) -> list[Advice]:
    """What to do next, most urgent first."""
    found: list[Advice] = []
    calibrated = {c.site: c for c in audit.calibrations if c.strength is not None}
    bad = [v for v in verdicts if v.light in (Light.LEAKS, Light.MAY_LEAK)]
    leaking = [v.site for v in verdicts if v.light is Light.LEAKS]
    if leaking:
        found.append(
            Advice(
                text=f"Let {_names(leaking)} send no further update without a protection that was "
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
                text=f"Find the least noise at which {_names(open_sites)} no longer "
                f"{'leaks' if len(open_sites) == 1 else 'leak'}, and what it costs in accuracy; "
                "then put the lines that it prints into the privacy.json of the site.",
                copy="\n".join(calibrate_command(audit, site) for site in open_sites[:9]),
            )
        )
    if unknown := [v for v in verdicts if v.light is Light.NOT_KNOWN]:
        found.append(
            Advice(
                text="Settle what is not known: "
                + "; ".join(f"{_short(v.site)}: {v.why}" for v in unknown[:9])
                + ". Until then count these as leaking."
            )
        )
    if not bad:
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
        text=f"For {_short(verdict.site)}, {first} is the weakest protection replayed in this "
        f"audit under which nothing better than a guess came back (upper 95 % bound of RDLV "
        f"{upper:.2f}, {group.n} pictures). Confirm it by calibration before relying on it."
    )


def calibrate_command(audit: Audit, site: str) -> str:
    """The command that looks for the least noise; RUN as the audit's own command named it."""
    runs = audit.config.get("runs")
    command = runs[-1].get("command", []) if isinstance(runs, list) and runs else []
    words = [str(w) for w in command] if isinstance(command, list) else []
    run = next((w for w in words[2:3] if not w.startswith("-")), "RUN")
    defence = "percentile_gaussian:scope=group"
    return shlex.join(["medleak", "calibrate", run, "--site", site, "--defence", defence])


def _paste(calibration: Calibration) -> Advice:
    lines = calibration.privacy_json
    text = lines if isinstance(lines, str) else json.dumps(lines, indent=2, ensure_ascii=False)
    return Advice(
        text=f"Put these lines into the privacy.json of {_short(calibration.site)}: "
        f"{calibration.defence} at {calibration.strength:g} is the least strength at which the "
        "upper 95 % bound of RDLV was at or below 0 against the attacks tried.",
        copy=text if lines else "",
    )


def _names(sites: Sequence[str]) -> str:
    shown = [_short(s) for s in sites]
    if len(shown) > 9:
        return f"{', '.join(shown[:8])} and {len(shown) - 8} more sites"
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else shown[0]


def _short(text: str, longest: int = 60) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
