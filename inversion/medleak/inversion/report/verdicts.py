"""The traffic light: one word a site, and the rule that set it."""

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from medleak.inversion.measures.similarity import ASR_THRESHOLD
from medleak.inversion.report import who
from medleak.inversion.report.model import Audit, Group
from medleak.inversion.report.texts import names, short
from medleak.inversion.results.case import NO_DEFENCE
from medleak.inversion.results.rows import Row
from medleak.inversion.results.strength import families


class Light(enum.Enum):
    """Worst first. Each has a word, a shape and a colour, as a colour alone is not read by all."""

    LEAKS = "leaks"
    FOUND = "found, not identified"
    MAY_LEAK = "may leak"
    NOT_KNOWN = "not known"
    NONE_FOUND = "no leak found"

    @property
    def severity(self) -> int:
        """0 is the worst."""
        return list(Light).index(self)

    @property
    def answers(self) -> bool:
        """Whether a leak is shown or was looked for and not found; else neither is known."""
        return self in (Light.LEAKS, Light.NONE_FOUND)


RULES: Mapping[Light, str] = {
    Light.LEAKS: "More of the patients' images came back than can be had without the update: an "
    f"image almost whole (SSIM of {ASR_THRESHOLD:g} or more); or images closer to their originals "
    "than the guess from public images and all other images that cannot have leaked, by more than "
    "chance; or pictures that single out the patient's own image among others. Or it can be told, "
    "by more than chance, which patients' images were in the data.",
    Light.FOUND: "The attack found images by its own losses, as it does on an easy case, but they "
    "match no listed image, neither as it is nor flipped, turned, cropped or brightened as in "
    "training. Something left the site; whose image it is, is not known.",
    Light.MAY_LEAK: "None of these, but the measurement does not exclude a leak: the upper 95 % "
    "bound of the mean RDLV is above 0.",
    Light.NOT_KNOWN: "Nothing can be said: no original to compare with, an undefined RDLV, an "
    "update that could not be attacked, an attack that stopped short, or one that was not shown to "
    "work at all.",
    Light.NONE_FOUND: "None of these, the upper 95 % bound of the mean RDLV is at most 0, and the "
    "same attack did succeed on an easy case. This holds for these attacks with this knowledge "
    "alone; a stronger one may find more.",
}
"""The audit's rule (`definitions.verdict` of its summary.json) in words, its "inconclusive" split
in two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteVerdict:
    """What the first page says of a site.

    Attributes:
        group: The figures that decided, None if there are none.
        best: The reconstruction that is most like its original, of those that decided.
        pictures: Reconstructions that ``best`` is the best of, by all attacks.
        images_leak: The images themselves do; else a light that says "leaks" is about who was in.
        who: What is known of who was in, for a sentence.
        replayed: The defence that was replayed, where the update was not attacked as it was sent.
    """

    site: str
    light: Light
    why: str
    group: Group | None
    best: Row | None
    replayed: str | None
    pictures: int = 0
    images_leak: bool = False
    who: str = ""


def light_of(group: Group, health: Mapping[str, object]) -> tuple[Light, str]:
    """The light of one group, and the reason in words.

    The audit's own verdict decides (one rule, one place). It is only ever made worse here: "no leak
    found" needs its health check in the same summary, and updates that agree with what was said.
    """
    verdict = group.verdict
    if verdict is not None and verdict.kind == "leaks":
        return Light.LEAKS, _what_came_back(group)
    if verdict is not None and verdict.kind == "found_not_identified":
        return Light.FOUND, "images were found that match no listed one: look at the pictures"
    if not group.figure("ssim").defined:
        return Light.NOT_KNOWN, "no original to compare with: look at the pictures"
    if verdict is not None and verdict.kind == "no_leak_found":
        if group.contradicted:
            why = f"an update contradicts what was said of it: {short(group.contradicted, 300)}"
            return Light.NOT_KNOWN, why
        if reached_easy_case(group, health):
            return Light.NONE_FOUND, "nothing came back that a guess would not reach"
        return Light.NOT_KNOWN, (
            "nothing came back, but the attack was not seen to work on an easy case"
        )
    if verdict is not None and verdict.kind == "inconclusive":
        if _not_excluded(group):
            return Light.MAY_LEAK, "whether more than a guess came back is not decided"
        return Light.NOT_KNOWN, "; ".join(verdict.reasons)
    return Light.NOT_KNOWN, "the audit gives no verdict on it"


def _what_came_back(group: Group) -> str:
    ssim = group.figure("ssim")
    best = ssim.max if ssim.max is not None else ssim.mean or 0.0
    if best >= ASR_THRESHOLD:
        count = "the image" if group.n == 1 else "an image"
        return f"{count} came back almost whole"
    if (rdlv := group.figure("rdlv").mean) is not None and rdlv > 0:
        return "images come back closer than a guess"
    return "some images come back closer than a guess, or can be told from others"


def _not_excluded(group: Group) -> bool:
    rdlv = group.figure("rdlv")
    bound = rdlv.upper95 if rdlv.upper95 is not None else rdlv.mean
    return bound is not None and bound > 0


def reached_easy_case(group: Group, health: Mapping[str, object]) -> bool | None:
    """Whether the group's attack was seen to work; None: it was not tried."""
    entry = health.get(f"{group.attack}|{group.knowledge}")
    reached = entry.get("reached") if isinstance(entry, Mapping) else None
    return reached if isinstance(reached, bool) else None


def site_verdicts(audit: Audit) -> list[SiteVerdict]:
    """One verdict a site, worst first: that of its worst group, as sent where that was attacked."""
    return _worst_first(_with_who(audit, verdict) for verdict in image_verdicts(audit))


def image_verdicts(audit: Audit) -> list[SiteVerdict]:
    """The same of the images alone: who was in is left out."""
    return _worst_first(_site(audit, site) for site in audit.sites)


def _worst_first(verdicts: Iterable[SiteVerdict]) -> list[SiteVerdict]:
    return sorted(verdicts, key=lambda v: (v.light.severity, -_leak(v.group)))


def _with_who(audit: Audit, verdict: SiteVerdict) -> SiteVerdict:
    """The same, and what is known of who was in: it can make a light worse, and never better."""
    words = who.in_words(audit, verdict.site)
    images = verdict.light is Light.LEAKS
    if verdict.light.severity > Light.FOUND.severity and who.leaks(audit, verdict.site):
        why = f"who was in its data can be told; of the images themselves: {verdict.why}"
        return replace(verdict, light=Light.LEAKS, why=why, who=words)
    return replace(verdict, images_leak=images, who=words)


def _site(audit: Audit, site: str) -> SiteVerdict:
    groups = [g for g in audit.overall if g.site == site]
    groups = groups or [g for g in audit.groups if g.site == site]
    deciding, replayed = _as_sent(groups)
    refused = [str(r.get("why", "")) for r in audit.refused if r["case"]["site"] == site]
    if not deciding:
        why = f"its update could not be attacked: {refused[0]}" if refused else "not attacked"
        if site in audit.left:
            why = "not attacked: the audit was stopped before"
        elif site in audit.not_drawn and not refused:
            why = "not looked at: the audit drew other sites"
        return SiteVerdict(
            site=site, light=Light.NOT_KNOWN, why=why, group=None, best=None, replayed=None
        )
    judged = [(*light_of(g, audit.health), g) for g in deciding]
    light, why, group = min(judged, key=lambda j: (j[0].severity, -(_leak(j[2]))))
    if refused and light is Light.NONE_FOUND:
        light, why = Light.NOT_KNOWN, f"{len(refused)} of its updates could not be attacked"
    if (left := audit.left.get(site)) and light is Light.NONE_FOUND:
        light, why = Light.NOT_KNOWN, f"the audit was stopped, and {left} of its cases are not done"
    if (others := audit.not_drawn.get(site)) and light is Light.NONE_FOUND:
        # An all-clear of a site would be one of what nobody looked at.
        light = Light.NOT_KNOWN
        why = f"{why}, in what was looked at; {others} of its updates were not drawn"
    if rest := sum(n for (_, s), n in audit.settled.items() if s == site):
        if light is Light.NONE_FOUND:  # what it was settled by is not there any more
            light = Light.NOT_KNOWN
        why = f"{why}; that was settled early, and {rest} of its cases were left out"
    rows = [r for r in audit.rows if r.site == site and r.defence == group.defence]
    best = max(rows, key=lambda r: -2.0 if r.ssim is None else r.ssim, default=None)
    return SiteVerdict(
        site=site,
        light=light,
        why=why,
        group=group,
        best=best,
        replayed=replayed,
        pictures=len(rows),
    )


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
        return names(sites)
    return f"{len(sites)} of {total} sites"


def by_light(verdicts: Sequence[SiteVerdict]) -> dict[Light, list[str]]:
    """The sites of each light that any has, worst first."""
    found = {light: [v.site for v in verdicts if v.light is light] for light in Light}
    return {light: sites for light, sites in found.items() if sites}


def headline(verdicts: Sequence[SiteVerdict]) -> str:
    """The report's first sentence."""
    sites = by_light(verdicts)
    total = len(verdicts)
    if not total:
        return "Nothing was attacked, so nothing is known."
    members = [v.site for v in verdicts if v.light is Light.LEAKS and not v.images_leak]
    if members and len(members) == len(sites.get(Light.LEAKS, ())):
        rest = "tells who was in its data" if len(members) == 1 else "tell who was in their data"
        return f"{_few(members, total)} {rest}."
    if leaking := [s for s in sites.get(Light.LEAKS, ()) if s not in members]:
        rest = "leaks its patients' images" if len(leaking) == 1 else "leak their patients' images"
        more = (
            f"; {len(members)} more tell{'s' * (len(members) == 1)} who was in" if members else ""
        )
        return f"{_few(leaking, total)} {rest}{more}."
    if found := sites.get(Light.FOUND):
        return f"Of {_few(found, total)} images were found that are on no list: count it as a leak."
    if may := sites.get(Light.MAY_LEAK):
        return f"{_few(may, total)} may leak: a leak is neither shown nor excluded."
    if len(sites.get(Light.NONE_FOUND, ())) == total:
        return "No leak was found by the attacks that were tried."
    return "What leaks is not known: the measurement is incomplete."
