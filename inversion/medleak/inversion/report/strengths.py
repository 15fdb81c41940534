"""The strength of a defence, read from its text: what sliders and axes are ordered by."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from medleak.inversion.results.case import NO_DEFENCE

_NOISE = ("sigma0", "noise_multiplier", "scale", "level")
_KEPT = ("fraction", "bits")
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_STRENGTH = re.compile(rf"\b({'|'.join(_NOISE + _KEPT)})=({_NUMBER})(?=[,+]|$)")


@dataclass(frozen=True, slots=True)
class Strength:
    """One stop: ``family`` is the defence with its strength left open, ``key`` what it is called.

    ``value`` is None where a defence has no number to turn, and for none at all.
    """

    defence: str
    family: str
    key: str
    value: float | None

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
    found = list(_STRENGTH.finditer(defence))
    if not found:
        return Strength(defence, defence, "", None)
    last = found[-1]
    family = f"{defence[: last.start(2)]}…{defence[last.end(2) :]}"
    return Strength(defence, family, last[1], float(last[2]))


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
        sign = -1 if members[0].key in _KEPT else 1
        members.sort(key=lambda s: sign * (s.value or 0))
    if not found and nothing:
        return {NO_DEFENCE: nothing}
    return {family: [*nothing, *members] for family, members in found.items()}
