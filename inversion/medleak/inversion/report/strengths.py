"""The strength of a defence, read from its text: what sliders and axes are ordered by."""

from collections.abc import Iterable
from dataclasses import dataclass

from medleak.filters.registry import Strength as Known
from medleak.filters.registry import row_of
from medleak.filters.spec import Spec, SpecChain
from medleak.inversion.results.case import NO_DEFENCE


@dataclass(frozen=True, slots=True)
class Strength:
    """One stop: ``family`` is the defence with its strength left open, ``key`` what it is called.

    ``value`` is None where a defence has no number to turn, and for none at all.
    """

    defence: str
    family: str
    key: str
    value: float | None
    less_protects: bool = False

    @property
    def label(self) -> str:
        """As a slider or axis says it."""
        if self.defence == NO_DEFENCE:
            return "none"
        return self.defence if self.value is None else f"{self.value:g}"


def strength_of(defence: str) -> Strength:
    """Read ``name:key=value,…``; of a composition, the last number that is a strength.

    Examples: ``percentile_gaussian:sigma0=10,scope=group`` has the strength 10 in the family
    ``percentile_gaussian:sigma0=…,scope=group``.
    """
    try:
        steps = SpecChain.parse(defence).steps
    except ValueError:  # of a file that anybody may have written
        return Strength(defence, defence, "", None)
    for place in reversed(range(len(steps))):
        if (known := _turned(steps[place])) is not None:
            key, opened = known.parameter, steps[place].with_(**{known.parameter: "…"})
            family = str(SpecChain((*steps[:place], opened, *steps[place + 1 :])))
            return Strength(defence, family, key, steps[place].number(key), known.less_protects)
    return Strength(defence, defence, "", None)


def _turned(step: Spec) -> Known | None:
    """The number of ``step`` that makes it stronger; None where it has none."""
    row = row_of(step.name)
    return (
        next((s for s in row.strengths if step.number(s.parameter) is not None), None)
        if row
        else None
    )


def names_of(defence: str) -> tuple[str, ...]:
    """Names of the mechanisms alone: ``withhold``, ``percentile_gaussian``."""
    try:
        return SpecChain.parse(defence).names
    except ValueError:
        return (defence,)


def families(defences: Iterable[str]) -> dict[str, list[Strength]]:
    """Stops by family, weakest first; no defence at all stands first in each.

    Less noise is weaker; so is more of the update kept, or more bits.
    """
    stops = [strength_of(d) for d in dict.fromkeys(defences)]
    nothing = [s for s in stops if s.defence == NO_DEFENCE]
    found: dict[str, list[Strength]] = {}
    for stop in stops:
        if stop.defence != NO_DEFENCE:
            found.setdefault(stop.family, []).append(stop)
    for members in found.values():
        sign = -1 if members[0].less_protects else 1
        members.sort(key=lambda s: sign * (s.value or 0))
    if not found and nothing:
        return {NO_DEFENCE: nothing}
    return {family: [*nothing, *members] for family, members in found.items()}
