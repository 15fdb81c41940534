"""The questions that an audit answers beside its attacks: a new one is a file and a line here.

The report reads each file where a class of attack names it
(`medleak.inversion.report.attack_classes.registry`).
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from medleak.custom.record import read_manifest
from medleak.inversion.audit.beside.attributes import attributes
from medleak.inversion.audit.beside.sentinel import sentinel
from medleak.inversion.audit.plan import Plan
from medleak.inversion.results.files import read_config, write_json

Step = Callable[[Plan], Mapping[str, Any]]
"""From a plan to the content of a file; raises `ValueError` or `OSError` where it cannot."""

STEPS: Mapping[str, Step] = {"attributes.json": attributes, "sentinel.json": sentinel}
"""By the name of the file in the audit directory."""


def write_beside(plan: Plan, steps: Mapping[str, Step] = STEPS) -> None:
    """Write the file of each step; of one that fails, that it was not tested, and why.

    Every file names the run and the updates that it is about: an audit that is gone on with has
    more, and a file of another run answers nothing. What the same plan found in the same updates is
    not asked again.

    Raises:
        OSError: The disk refuses a file.
    """
    updates = [f"{round}/{site}" for round, site in plan.updates()]
    record = read_manifest(plan.records).identity()
    known = read_config(plan.out).get("updates", {})
    contents = [known.get(update) for update in updates]
    asked = hashlib.sha256(repr((plan, record, updates, contents)).encode()).hexdigest()
    for name, step in steps.items():
        if _asked(plan.out / name) == asked:
            continue
        head = {"format_version": 1, "record": record, "asked": asked, "updates": updates}
        try:
            content = dict(step(plan))
        except (ValueError, OSError, RuntimeError, ArithmeticError) as error:
            why = " ".join(str(error).split())
            content = {"not_tested": [{"what": "", "why": why}]}
            head["asked"] = ""  # it may have been mended by the next time
        write_json(plan.out / name, {**head, **content})


def _asked(path: Path) -> str | None:
    try:
        return json.loads(path.read_bytes()).get("asked")
    except (OSError, ValueError, AttributeError):  # missing, or not ours: it is written anew
        return None
