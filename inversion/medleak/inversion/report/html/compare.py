"""Two audits beside each other: before and after a defence."""

from collections.abc import Sequence
from dataclasses import dataclass

from medleak.inversion.report.model import Audit, Group
from medleak.inversion.report.texts import names
from medleak.inversion.report.verdicts import Light, SiteVerdict, light_of, site_verdicts
from medleak.inversion.results.comparison import Paired, compare_rows, image_key
from medleak.inversion.results.rows import Row

_Key = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The same site, attack, knowledge and replayed defence in both audits; None: not in one.

    Attributes:
        gain: SSIM after less before, image by image; None: there are no images to pair.
    """

    site: str
    attack: str
    defence: str
    knowledge: str
    before: Group | None
    after: Group | None
    light_before: Light | None
    light_after: Light | None
    gain: Paired | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What changed, and whether the two may be compared at all (``warnings``: why not)."""

    before: Sequence[SiteVerdict]
    after: Sequence[SiteVerdict]
    changes: Sequence[Change]
    warnings: Sequence[str]


def compare(before: Audit, after: Audit) -> Comparison:
    """Pair the groups of two audits."""
    old, new = _groups(before), _groups(after)
    changes = [
        Change(
            site=key[0],
            attack=key[1],
            defence=key[2],
            knowledge=key[3],
            before=old.get(key),
            after=new.get(key),
            light_before=_light(before, old.get(key)),
            light_after=_light(after, new.get(key)),
            gain=_gain(before, old.get(key), after, new.get(key)),
        )
        for key in dict.fromkeys([*old, *new])
    ]
    return Comparison(
        before=site_verdicts(before),
        after=site_verdicts(after),
        changes=changes,
        warnings=_warnings(before, after),
    )


def summary(comparison: Comparison) -> list[str]:
    """Which sites' lights became worse, better or stayed, a sentence each, worse first."""
    old = {v.site: v.light for v in comparison.before}
    new = {v.site: v.light for v in comparison.after}
    kinds: dict[str, list[str]] = {}
    for site in dict.fromkeys([*new, *old]):
        kinds.setdefault(_change(old.get(site), new.get(site)), []).append(site)
    return [f"{kind}: {names(sites)}." for kind, sites in sorted(kinds.items(), reverse=True)]


def _change(old: Light | None, new: Light | None) -> str:
    if old is None or new is None:
        return "In one of the two audits alone"
    if old is new:
        return f"As before ({new.value})"
    if Light.NOT_KNOWN in (old, new):  # to know less is no progress
        return f"From {old.value} to {new.value}, so better or worse cannot be said"
    return f"{'Better' if new.severity > old.severity else 'Worse'} than before ({old.value})"


def _groups(audit: Audit) -> dict[_Key, Group]:
    return {(g.site, g.attack, g.defence, g.knowledge): g for g in audit.overall}


def _light(audit: Audit, group: Group | None) -> Light | None:
    return None if group is None else light_of(group, audit.health)[0]


def _gain(before: Audit, old: Group | None, after: Audit, new: Group | None) -> Paired | None:
    """What the same images of the same rounds and seeds gained, if they are the same images."""
    if old is None or new is None:
        return None
    first, second = _rows(before, old), _rows(after, new)
    # Names are places in a list. Of one image both audits say the same SSIM with one prior.
    priors = {image_key(row): row.ssim_prior for row in first}
    if any(priors.get(image_key(row), row.ssim_prior) != row.ssim_prior for row in second):
        return None
    try:
        return compare_rows(second, first)
    except ValueError:
        return None


def _rows(audit: Audit, group: Group) -> list[Row]:
    key = (group.site, group.attack, group.declared, group.defence, group.knowledge)
    return [
        row
        for row in audit.rows
        if (row.site, row.attack, row.declared, row.defence, row.knowledge) == key
    ]


def gain_text(gain: Paired | None) -> str:
    """A paired difference with its interval, for a cell."""
    if gain is None:
        return "no image in both"
    images = f"{gain.n} image{'s' * (gain.n != 1)}"
    if gain.lower95 is None or gain.upper95 is None:
        return f"{gain.difference:+.2f} ({images}, no interval)"
    p = "" if gain.p is None else f", p = {gain.p:.2g}"
    return f"{gain.difference:+.2f} [{gain.lower95:+.2f}, {gain.upper95:+.2f}] ({images}{p})"


def _warnings(before: Audit, after: Audit) -> list[str]:
    found = []
    for key, what in (("prior", "priors"), ("attacks", "settings of the attacks")):
        if before.config.get(key) != after.config.get(key):
            found.append(
                f"The two audits have different {what}, so a part of the difference is not the "
                "defence's."
            )
    if {r.round for r in before.rows} != {r.round for r in after.rows}:
        found.append("The two audits are of different rounds.")
    if set(before.sites) != set(after.sites):
        found.append("The two audits are of different sites.")
    return found
