"""The questions that an audit answers beside its attacks: a new one is a file and a line here.

The report reads each file where a class of attack names it
(`medleak.inversion.report.attack_classes.registry`).
"""

from collections.abc import Callable, Mapping
from typing import Any

from medleak.inversion.audit.beside.attributes import attributes
from medleak.inversion.audit.beside.sentinel import sentinel
from medleak.inversion.audit.plan import Plan
from medleak.inversion.results.files import write_json

Step = Callable[[Plan], Mapping[str, Any]]
"""From a plan to the content of a file; raises `ValueError` or `OSError` where it cannot."""

STEPS: Mapping[str, Step] = {"attributes.json": attributes, "sentinel.json": sentinel}
"""By the name of the file in the audit directory."""


def write_beside(plan: Plan, steps: Mapping[str, Step] = STEPS) -> None:
    """Write the file of each step; of one that fails, that it was not tested, and why.

    Every file names the updates that it is about: an audit that is gone on with has more.

    Raises:
        OSError: The disk refuses a file.
    """
    updates = [f"{round}/{site}" for round, site in plan.updates()]
    for name, step in steps.items():
        try:
            content = dict(step(plan))
        except (ValueError, OSError, RuntimeError, ArithmeticError) as error:
            why = " ".join(str(error).split())
            content = {"not_tested": [{"what": "", "why": why}]}
        write_json(plan.out / name, {"format_version": 1, "updates": updates, **content})
