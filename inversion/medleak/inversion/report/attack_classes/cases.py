"""Which cases of an audit have no answer: what they would have shown clears nobody."""

from collections.abc import Collection

from medleak.inversion.report import who
from medleak.inversion.report.model import Audit


def unexamined(
    audit: Audit, defence: str, sites: Collection[str], *, membership: bool = False
) -> str:
    """Why what was found under ``defence`` is not of all that was to be looked at; empty: it is.

    Args:
        audit: It.
        defence: That was replayed, or none.
        sites: Of which there are figures.
        membership: It was asked who was in; else images were rebuilt.
    """
    if silent := [site for site in audit.sites if site not in sites]:
        return f"{len(silent)} sites were not {'asked about' if membership else 'measured'}"
    cases = [r["case"] for r in audit.refused]
    if refused := sum(c.get("defence") == defence and who.asks(c) is membership for c in cases):
        return f"{refused} cases could not be examined"
    if left := sum(audit.left.values()):
        return f"the audit was stopped, and {left} of its cases are not done"
    if not membership and (rest := sum(audit.settled.values())):
        return f"{rest} cases were left out, as it was settled that their sites leak"
    return ""
