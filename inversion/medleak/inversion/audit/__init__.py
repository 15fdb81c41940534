"""An audit: every combination of update, attack, defence, knowledge and seed.

>>> from medleak.inversion.audit import Plan, audit
>>> Plan.__module__, audit.__module__
('medleak.inversion.audit.plan', 'medleak.inversion.audit.run')

What a plan asks for is in `Plan`, what becomes of each of its cases in `Outcome`. All names are
imported when they are first asked for: an attack needs torch, a command's help does not.
"""

from typing import TYPE_CHECKING

from medleak.filters.imports import late

if TYPE_CHECKING:
    from medleak.inversion.audit.ladder import rungs
    from medleak.inversion.audit.plan import Plan, knowledge_of
    from medleak.inversion.audit.run import Outcome, audit, estimate_cost

__all__ = ["Outcome", "Plan", "audit", "estimate_cost", "knowledge_of", "rungs"]

__getattr__ = late(
    __name__,
    {
        "Outcome": "run",
        "Plan": "plan",
        "audit": "run",
        "estimate_cost": "run",
        "knowledge_of": "plan",
        "rungs": "ladder",
    },
)
