"""Whether planted canaries contradict the ε that a site claims: the worst case of membership.

No class of attack of its own, and never an all-clear: what was not refuted may yet be false, as a
better guesser might see more. It stands beside the ledger's ε.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from medleak.inversion.report.model import Audit
from medleak.inversion.report.texts import names, ranges, short
from medleak.inversion.report.values import count, listing, mapping, number, text

FILE = "dp_audit.json"
"""As ``medleak dp-audit RUN --out`` writes it."""

NOT_LOOKED = "nobody planted canaries and looked for them (medleak dp-audit RUN --out AUDIT)"
_NO_PROOF = "a better guesser might be right more often, so this is no proof"
Status = Literal["refuted", "not refuted", "not known", "not tested"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What canaries say of one site's ε.

    Attributes:
        claimed: With its δ and whose word it is, in words; empty: none, or not known.
        bound: Lower bound found; None: not tested, or not known.
        guesses: How many were right of how many, in words.
        words: The verdict in words, or why there is none.
    """

    site: str
    status: Status
    claimed: str
    bound: float | None
    guesses: str
    words: str


def lines(audit: Audit) -> list[Line]:
    """One line a site, those of which nothing is known included; empty: nobody tried any."""
    content = mapping(audit.beside.get(FILE))
    sites = mapping(content.get("sites"))
    whys = {text(w.get("what")): text(w.get("why")) for w in map(mapping, _whys(content))}
    if not sites and not whys:
        return []
    found = []
    for site in dict.fromkeys([*audit.sites, *sites, *filter(None, whys)]):
        if site in sites:
            found.append(_line(str(site), mapping(sites[site])))
        else:
            why = whys.get(site) or whys.get("") or "no canary was planted at this site"
            found.append(_untested(site, short(why, 300)))
    return found


def refuted(audit: Audit) -> list[str]:
    """Sites whose ε canaries contradict."""
    return [one.site for one in lines(audit) if one.status == "refuted"]


def summary(audit: Audit) -> str | None:
    """For a sentence; None: not tested."""
    tried = [one for one in lines(audit) if one.status in ("refuted", "not refuted")]
    if not tried:
        return None
    bad = [one.site for one in tried if one.status == "refuted"]
    most = max(tried, key=lambda one: one.bound or 0.0)
    head = f"the ε of {names(bad)} is REFUTED" if bad else "not refuted, which proves nothing"
    return (
        f"canaries at {len(tried)} of {len(lines(audit))} sites: {head}; largest bound "
        f"{most.bound or 0.0:.3g} where {most.claimed} is claimed ({most.guesses})"
    )


def _whys(content: Mapping[str, Any]) -> list[Any]:
    return listing(content.get("not_tested"))


def _untested(site: str, why: str) -> Line:
    return Line(site=site, status="not tested", claimed="", bound=None, guesses="", words=why)


def _line(site: str, told: Mapping[str, Any]) -> Line:
    planted, guessed, right = (count(told.get(k)) for k in ("planted", "guessed", "right"))
    claimed, bound, delta = (number(told.get(k)) for k in ("claimed", "bound", "delta"))
    needed, kind = number(told.get("needed")), text(told.get("kind"))
    if bound is None or bound < 0 or not 0 <= right <= guessed <= planted or not guessed:
        return _untested(site, f"{FILE} gives no count of guesses that could be")
    status: Status = "not known"
    contradicted = claimed is not None and (
        bound > claimed or (needed is not None and right >= needed)
    )
    if contradicted or kind == "refuted":
        status = "refuted"
    elif kind == "not refuted" and claimed is not None:
        status = "not refuted"
    words = {
        "refuted": "the mechanism gives less than it claims: do not rely on this ε",
        "not refuted": _NO_PROOF,
        "not known": "no ε is claimed, or so few canaries could not contradict it",
    }[status]
    guesses = f"{right} of {guessed} guesses right, of {planted} canaries"
    if (scaled := number(told.get("scaled"))) is not None and scaled > bound:
        words += f"; at least {scaled:.3g} if the mechanism is as claimed but for its noise"
    return Line(
        site=site,
        status=status,
        claimed=_claim(claimed, delta, short(text(told.get("claimed_by")), 60)),
        bound=bound,
        guesses=guesses if needed is None else f"{guesses}; {needed:.0f} contradict the claim",
        words=f"{words} ({_of(told)})",
    )


def _claim(epsilon: float | None, delta: float | None, by: str) -> str:
    if epsilon is None:
        return ""
    at = "" if delta is None else f" at δ = {delta:g}"
    return f"ε = {epsilon:.4g}{at} by {by or 'nobody that is named'}"


def _of(told: Mapping[str, Any]) -> str:
    """What the canaries were, and of which rounds."""
    kind = short(text(told.get("canaries")), 20) or "canaries of no kind that is named"
    rounds = sorted(count(r) for r in listing(told.get("rounds")))
    return f"{kind}, round{'s' * (len(rounds) > 1)} {ranges(rounds)}" if rounds else kind
