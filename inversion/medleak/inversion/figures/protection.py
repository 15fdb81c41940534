"""What stood between a site and the attacker: one text for a defence, wherever it was applied."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from medleak.filters.defences.composition import Composition
from medleak.filters.registry import Defence, declaration, defence
from medleak.inversion.audit.evaluation import defence_text
from medleak.inversion.results.case import NO_DEFENCE
from medleak.inversion.results.rows import Row

DEFAULT_PARAMETER = "sigma0"
"""Strength of TMI's filter (section II-C): the noise in units of the update's percentile."""


@dataclass(frozen=True, slots=True, order=True)
class Dose:
    """A defence as a family that differs in one number alone, and that number.

    ``family`` is the text without the number; of an unprotected update it is `NO_DEFENCE`, with
    strength 0, and belongs to every family.
    """

    family: str
    strength: float


def protection(row: Row) -> str:
    """Declared by the site, then replayed by the audit; `NO_DEFENCE` where neither is."""
    steps = [s for s in (row.declared, row.defence) if s != NO_DEFENCE]
    return " + ".join(steps) or NO_DEFENCE


@cache
def canonical(text: str) -> str:
    """``text`` with the defaults of its defences written out, so that equal ones are equal texts.

    What is no defence of ours stays as it is.
    """
    try:
        used = defence(text)
    except (ValueError, TypeError):
        return text
    steps = used.steps if isinstance(used, Composition) else [used]
    return "+".join(map(_written_out, steps))


def _written_out(step: Defence) -> str:
    declared = declaration(step)
    # 10 and 10.0 are one strength.
    args = {k: float(v) if type(v) is int else v for k, v in declared["args"].items()}
    return defence_text({**declared, "args": args})


def dose(text: str, parameter: str = DEFAULT_PARAMETER) -> Dose | None:
    """``text`` as a family and its ``parameter``; None where it has no such number, or several."""
    if text == NO_DEFENCE:
        return Dose(NO_DEFENCE, 0.0)
    found: list[float] = []
    steps = []
    for step in text.split("+"):
        name, _, arguments = step.strip().partition(":")
        kept = []
        for pair in filter(None, (a.strip() for a in arguments.split(","))):
            key, _, value = (t.strip() for t in pair.partition("="))
            number = _number(value) if key == parameter else None
            if number is None:
                kept.append(f"{key}={value}")
            else:
                found.append(number)
        steps.append(f"{name}:{','.join(kept)}" if kept else name)
    return Dose(" + ".join(steps), found[0]) if len(found) == 1 else None


def families(texts: Iterable[str], parameter: str = DEFAULT_PARAMETER) -> list[str]:
    """Families with ``parameter`` among ``texts``, in order of appearance."""
    found = (dose(text, parameter) for text in texts)
    return list(dict.fromkeys(d.family for d in found if d and d.family != NO_DEFENCE))


def short_names(kinds: Sequence[str]) -> dict[str, str]:
    """For narrow places: each of ``kinds`` without what all of them begin with."""
    if len(kinds) < 2:
        return {kind: kind for kind in kinds}
    parts = [re.split(r"(?<=[:,+])", kind) for kind in kinds]
    shared = 0
    while all(len(p) > shared + 1 and p[shared] == parts[0][shared] for p in parts):
        shared += 1
    return {kind: "".join(p[shared:]).strip() for kind, p in zip(kinds, parts, strict=True)}


def _number(text: str) -> float | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None
