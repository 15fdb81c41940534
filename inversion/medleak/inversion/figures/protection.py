"""What stood between a site and the attacker: one text for a defence, wherever it was applied."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from medleak.filters.registry import defence, spec_of
from medleak.filters.spec import Spec, SpecChain, joined
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
        steps = spec_of(defence(text)).steps
    except (ValueError, TypeError):
        return text
    return str(SpecChain(tuple(map(_in_floats, steps))))


def _in_floats(step: Spec) -> Spec:
    """10 and 10.0 are one strength."""
    whole = {k: float(v) for k, v in step.pairs if type(v) is int}
    return step.with_(**whole)


def dose(text: str, parameter: str = DEFAULT_PARAMETER) -> Dose | None:
    """``text`` as a family and its ``parameter``; None where it has no such number, or several."""
    if text == NO_DEFENCE:
        return Dose(NO_DEFENCE, 0.0)
    try:
        chain = SpecChain.parse(text)
    except ValueError:
        return None  # not in our words
    numbers = [step.number(parameter) for step in chain.steps]
    found = [number for number in numbers if number is not None]
    if len(found) != 1:
        return None
    steps = zip(chain.steps, numbers, strict=True)
    return Dose(joined(s if n is None else s.without(parameter) for s, n in steps), found[0])


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
