"""What stood between a site and the attacker, and how much of it: axes, sliders, curves.

A defence is known by its text. A family is a set of texts that differ in one number, the strength,
and its curve begins with the unprotected update, which belongs to every family.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol, TypeVar

from medleak.filters.registry import Strength as Known
from medleak.filters.registry import spec_of
from medleak.filters.spec import Spec, SpecChain, joined
from medleak.inversion.results.case import NO_DEFENCE
from medleak.inversion.results.replays import replay_of, strengths_of

DEFAULT_PARAMETER = "sigma0"
"""Strength of TMI's filter (section II-C): the noise in units of the update's percentile."""

Value = TypeVar("Value")


class Protected(Protocol):
    """A row of results.csv, or a group of rows: what the site declared, what was replayed."""

    @property
    def declared(self) -> str:
        """By the site."""
        ...

    @property
    def defence(self) -> str:
        """By the audit."""
        ...


def protection(of: Protected) -> str:
    """Declared by the site, then replayed by the audit; `NO_DEFENCE` where neither is."""
    steps = [s for s in (of.declared, of.defence) if s != NO_DEFENCE]
    return " + ".join(steps) or NO_DEFENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Strength:
    """One stop of a family.

    Attributes:
        defence: The whole text.
        family: The text without the number; `NO_DEFENCE` for none at all.
        opened: The text with the number left open, for titles.
        key: What the number is called; empty: there is none to turn.
        value: The number; None where there is none, and for none at all.
        less_protects: Less of it is stronger, as of the part of an update that is kept.
    """

    defence: str
    family: str
    opened: str
    key: str = ""
    value: float | None = None
    less_protects: bool = False

    @property
    def label(self) -> str:
        """As a slider or axis says it."""
        if self.defence == NO_DEFENCE:
            return "none"
        return self.defence if self.value is None else f"{self.value:g}"

    @property
    def at(self) -> float | None:
        """Place on an axis of numbers, where no defence stands at 0."""
        return 0.0 if self.family == NO_DEFENCE else self.value


def strength_of(text: str, parameter: str | None = None) -> Strength:
    """The strength of a defence, read from its text.

    Args:
        text: ``name:key=value,…``, of a composition joined by ``+``; anything else has none.
        parameter: The number that counts, which one step alone may have. None: the one that the
            table of defences calls a strength; of a composition the last.

    Examples:
        >>> found = strength_of("percentile_gaussian:sigma0=10,scope=group")
        >>> found.value, found.family
        (10.0, 'percentile_gaussian:scope=group')
        >>> found.opened
        'percentile_gaussian:sigma0=…,scope=group'
        >>> strength_of("top_k:fraction=0.1", "sigma0").value is None
        True
    """
    nothing = Strength(defence=text, family=text, opened=text)
    try:
        steps = SpecChain.parse(text).steps
    except ValueError:  # of a file that anybody may have written
        return nothing
    turned = [(k, known) for k, s in enumerate(steps) if (known := _turned(s, parameter))]
    if not turned or (parameter is not None and len(turned) > 1):
        return nothing
    place, known = turned[-1]
    key, step = known.parameter, steps[place]
    opened, rest = step.with_(**{key: "…"}), step.without(key)
    return Strength(
        defence=text,
        family=joined((*steps[:place], rest, *steps[place + 1 :])),
        opened=str(SpecChain((*steps[:place], opened, *steps[place + 1 :]))),
        key=key,
        value=step.number(key),
        less_protects=known.less_protects,
    )


def _turned(step: Spec, parameter: str | None) -> Known | None:
    """The number of ``step`` that makes it stronger; None where it has none."""
    strengths = strengths_of(step.name) or ()
    if parameter is not None:
        named = (s for s in strengths if s.parameter == parameter)
        strengths = (next(named, Known(parameter=parameter)),)
    return next((s for s in strengths if step.number(s.parameter) is not None), None)


def names_of(defence: str) -> tuple[str, ...]:
    """Names of the mechanisms alone: ``withhold``, ``percentile_gaussian``."""
    try:
        return SpecChain.parse(defence).names
    except ValueError:
        return (defence,)


def families(texts: Iterable[str], parameter: str | None = None) -> dict[str, list[Strength]]:
    """Stops by family in order of appearance, weakest first; no defence at all first in each.

    Less noise is weaker; so is more of the update kept, or more bits.

    Args:
        texts: Protections.
        parameter: As of `strength_of`; defences that have no such number are left out.
    """
    stops = [strength_of(text, parameter) for text in dict.fromkeys(texts)]
    nothing = [s for s in stops if s.defence == NO_DEFENCE]
    found: dict[str, list[Strength]] = {}
    for stop in stops:
        if stop.defence != NO_DEFENCE and (parameter is None or stop.value is not None):
            found.setdefault(stop.family, []).append(stop)
    for members in found.values():
        sign = -1 if members[0].less_protects else 1
        members.sort(key=lambda s: sign * (s.value or 0))
    if not found and nothing and parameter is None:
        return {NO_DEFENCE: nothing}
    return {family: [*nothing, *members] for family, members in found.items()}


def curve_of(stops: Sequence[Strength], found: Mapping[str, Value]) -> list[tuple[Strength, Value]]:
    """The points of a family's curve, weakest first: what was ``found`` under each protection."""
    return [(stop, found[stop.defence]) for stop in stops if stop.defence in found]


def same(first: str, second: str) -> bool:
    """Whether two texts name the same protection, defaults written out or not.

    Examples:
        >>> same("percentile_gaussian:sigma0=10", "percentile_gaussian:sigma0=10.0,percentile=95")
        True
    """
    return canonical(first) == canonical(second)


@cache
def canonical(text: str) -> str:
    """``text`` with the defaults of its defences written out, so that equal ones are equal texts.

    What is no defence of ours stays as it is.
    """
    try:
        replay = replay_of(text)
        own = () if replay.at_site is None else spec_of(replay.at_site).steps
        steps = (*own, *replay.tail)
    except (ValueError, TypeError):
        return text
    return str(SpecChain(tuple(map(_in_floats, steps))))


def _in_floats(step: Spec) -> Spec:
    """10 and 10.0 are one strength."""
    whole = {k: float(v) for k, v in step.pairs if type(v) is int}
    return step.with_(**whole)


def short_names(kinds: Sequence[str]) -> dict[str, str]:
    """For narrow places: each of ``kinds`` without what all of them begin with."""
    if len(kinds) < 2:
        return {kind: kind for kind in kinds}
    parts = [re.split(r"(?<=[:,+])", kind) for kind in kinds]
    shared = 0
    while all(len(p) > shared + 1 and p[shared] == parts[0][shared] for p in parts):
        shared += 1
    return {kind: "".join(p[shared:]).strip() for kind, p in zip(kinds, parts, strict=True)}
