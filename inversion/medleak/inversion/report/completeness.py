"""Whether an audit looked at all that it set out to: what was not attacked is not known."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from medleak.custom.record import natural_key
from medleak.inversion.audit.scope.sampling import in_words
from medleak.inversion.report import who
from medleak.inversion.report.model import Audit, Group
from medleak.inversion.report.verdicts import Light, SiteVerdict, light_of
from medleak.inversion.results.case import AVERAGE
from medleak.inversion.results.rows import Row

_NAMED = 6  # of many, in a sentence
JOURNAL = "journal.jsonl"
"""As `medleak.inversion.audit.journal` leaves it where an audit was killed."""


def not_examined(audits: Sequence[Audit]) -> list[str]:
    """What ``audits`` leave unknown, a sentence each without its full stop; empty: nothing.

    Of two audits, also what was not compared: the sites of the first that the second is silent on.
    """
    found = [sentence for audit in audits for sentence in _of_one(audit)]
    if len(audits) != 2:
        return found
    before, after = audits
    gone = [site for site in before.sites if site not in after.sites]
    if not {*before.sites} & {*after.sites}:
        found.append(
            "the two audits have no site in common, so nothing was compared: name two audits of "
            "the same federation"
        )
    elif gone:
        sites, are = ("site", "is") if len(gone) == 1 else ("sites", "are")
        found.append(
            f"{len(gone)} {sites} of {before.folder.name} ({_first(sorted(gone, key=natural_key))})"
            f" {are} not in {after.folder.name}, so of what leaks there now nothing is said: audit "
            "them, too"
        )
    return found


def undecided(verdicts: Iterable[SiteVerdict]) -> list[str]:
    """That a leak of sites is neither shown nor excluded, as `not_examined`; empty: of none."""
    neither = [v for v in verdicts if not v.light.answers]
    if not neither:
        return []
    listed = _first([f"{v.site}: {v.light.value}" for v in neither])
    sites = "1 site leaks" if len(neither) == 1 else f"{len(neither)} sites leak"
    return [f"whether {sites} is neither shown nor excluded ({listed})"]


def not_compared(rows: Iterable[Row]) -> list[str]:
    """That sites have images that were rebuilt and none to compare with; empty: all have some."""
    compared: dict[str, bool] = {}
    for row in rows:
        compared[row.site] = compared.get(row.site, False) or row.ssim is not None
    if not (without := sorted((s for s, any_ in compared.items() if not any_), key=natural_key)):
        return []
    listed = _first(without)
    return [
        f"what was rebuilt of {len(without)} site{'s' * (len(without) > 1)} ({listed}) was "
        "compared with nothing, as there is no list of the images (--truth): look at the pictures"
    ]


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")


def _of_one(audit: Audit) -> list[str]:
    name = audit.folder.name
    if not any((audit.groups, audit.rows, audit.refused, audit.membership)):
        return [f"the audit {name} attacked nothing, so it says of no site that it is safe"]
    found = []
    if audit.refused:
        cases = "case" if len(audit.refused) == 1 else "cases"
        found.append(f"{len(audit.refused)} {cases} of {name} could not be attacked")
    if left := sum(audit.left.values()):
        cases = "case is" if left == 1 else "cases are"
        found.append(
            f"{left} {cases} not done of {name}; repeat its command, which goes on from there"
        )
    found += [f"{name}: {text}" for text in left_out(audit)]
    found += _cut(audit)
    found += [f"{sentence} of {name}" for sentence in not_compared(audit.rows)]
    if missing := _not_attacked(audit):
        listed = _first(missing)
        found.append(
            f"{len(missing)} updates of {name} have neither figures nor a reason ({listed}): the "
            "audit was stopped, or its table cut; repeat its command, which goes on from there"
        )
    elif silent := _not_asked(audit):
        listed = _first(silent)
        found.append(
            f"{name} asked who was in, and of {len(silent)} updates there is neither an answer nor "
            f"a reason ({listed}): repeat its command, which goes on from there"
        )
    elif (audit.folder / JOURNAL).exists():
        found.append(f"the audit {name} was killed; repeat its command, which goes on from there")
    return found


def left_out(audit: Audit) -> list[str]:
    """What was left out on purpose, and is not known for that; clauses without a full stop."""
    found = in_words(_sample(audit), _clear(audit))
    if audit.settled:
        sites, n = {site for _, site in audit.settled}, sum(audit.settled.values())
        found.append(
            f"{n} {'case' if n == 1 else 'cases'} of {len(sites)} "
            f"{'site' if len(sites) == 1 else 'sites'} left out, as it was settled before that "
            f"{'it leaks' if len(sites) == 1 else 'they leak'}"
        )
    return found


def _sample(audit: Audit) -> Mapping[str, Any]:
    sample = audit.config.get("sample")
    return sample if isinstance(sample, Mapping) else {}


def _clear(audit: Audit) -> set[str]:
    """Sites of which it was found, of all that was looked at, that nothing came back or was told.

    As `medleak.inversion.audit.scope.sampling.clear_sites`, but by the report's lights.
    """
    troubled = {*audit.left, *(str(r["case"]["site"]) for r in audit.refused)}
    troubled |= {m.site for m in audit.membership if m.kind == "leaks"}
    troubled |= {site for _, site in audit.settled}
    lights: dict[str, set[Light]] = {}
    for group in audit.overall:
        lights.setdefault(group.site, set()).add(light_of(group, audit.health)[0])
    return {site for site, found in lights.items() if found == {Light.NONE_FOUND}} - troubled


def _cut(audit: Audit) -> list[str]:
    """Whether summary and table are of the same images: else no figure is of the table's."""
    counted = {_attacked(g): g.n for g in audit.overall}
    listed = Counter(_attacked(row) for row in audit.rows)
    if not audit.rows or counted == listed:
        return []
    return [
        f"summary.json of {audit.folder.name} has figures of {sum(counted.values())} images and "
        f"results.csv lists {listed.total()}: one of the two was changed or is of another audit; "
        "restore them, or audit again"
    ]


def _attacked(of: Group | Row) -> tuple[str, ...]:
    return of.site, of.attack, of.defence, of.declared, of.knowledge


def _not_attacked(audit: Audit) -> list[str]:
    """``round/site`` of the updates in config.json without a row or a refusal.

    An attack that joins rounds has one case a site, so then a row of any round counts.
    """
    updates, attacks = audit.config.get("updates"), audit.config.get("attacks")
    if not isinstance(updates, Mapping) or not isinstance(attacks, Mapping) or not attacks:
        return []
    done = {f"{row.round}/{row.site}" for row in audit.rows}
    refused = [r["case"] for r in audit.refused if not who.asks(r["case"])]
    done |= {f"{case.get('round')}/{case['site']}" for case in refused}
    done |= {f"{round}/{site}" for round, site in audit.settled}
    if attacks and all(str(name).startswith(AVERAGE) for name in attacks):
        sites = {place.partition("/")[2] for place in done}
        return [str(u) for u in updates if str(u).partition("/")[2] not in sites]
    return [str(u) for u in updates if str(u) not in done]


def _not_asked(audit: Audit) -> list[str]:
    """``round/site`` of the updates without an answer, where config.json says that it was asked."""
    updates, asked = audit.config.get("updates"), audit.config.get("membership")
    if not isinstance(updates, Mapping) or not isinstance(asked, Mapping):
        return []
    scores = asked.get("scores")
    answered = {f"{m.round}/{m.site}" for m in audit.membership}
    refused = [r["case"] for r in audit.refused if who.asks(r["case"])]
    answered |= {f"{case.get('round')}/{case['site']}" for case in refused}
    if isinstance(scores, list) and all(str(score).startswith(AVERAGE) for score in scores):
        sites = {place.partition("/")[2] for place in answered}
        return [str(u) for u in updates if str(u).partition("/")[2] not in sites]
    return [str(u) for u in updates if str(u) not in answered]
