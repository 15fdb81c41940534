"""Whose an update is, and what it tells of a site's patients: attributes.json of an audit."""

from dataclasses import asdict
from typing import Any

from medleak.inversion.audit.plan import Plan
from medleak.inversion.linkage.findings import RULE
from medleak.inversion.linkage.run import ask


def attributes(plan: Plan) -> dict[str, Any]:
    """What `medleak.inversion.linkage.run.ask` finds in the updates of ``plan``.

    Raises:
        ValueError: An update is damaged, or the plan's shares name a site that sent none.
        OSError: A file cannot be read.
    """
    found = ask(
        plan.records,
        rounds=plan.rounds,
        sites=plan.sites,
        truth=plan.truth,
        shares=plan.shares,
    )
    return {
        "rule": RULE,
        "told": [t.as_json() for t in found.told],
        "not_tested": [asdict(n) for n in found.not_tested],
    }
