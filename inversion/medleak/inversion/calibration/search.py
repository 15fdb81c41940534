"""Find the least strength of a defence that protects, when a test of each costs minutes.

Assumes that more protection never leaks more. Chance can break that, so the answer is only a
candidate until it is confirmed with fresh noise (`medleak.inversion.calibration.site`).
"""

import dataclasses
import math
from collections.abc import Generator
from dataclasses import dataclass

from medleak.filters.registry import DEFENCES
from medleak.filters.spec import SpecChain, rounded
from medleak.inversion.results.replays import (
    MINIMUM_BATCH,
    SECURE_AGGREGATION,
    replay_of,
    strengths_of,
)

DECADE = 10.0
_DIGITS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Mechanism:
    """A defence with one number left open.

    Attributes:
        fixed: Text of the defence without that number, as ``percentile_gaussian:scope=group``. Of
            several joined by ``+``, the number is the last one's.
        parameter: The number's name.
        weak: Strength that protects least, of the range to search, > 0.
        strong: Strength that protects most; below ``weak`` where less of it protects more.
        nothing: Strength that would be no defence.
    """

    fixed: str
    parameter: str
    weak: float
    strong: float
    nothing: float = 0.0

    def __post_init__(self) -> None:
        """Reject ranges that cannot be searched, and defences that cannot be."""
        for name, value in (("weak", self.weak), ("strong", self.strong)):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(
                    f"The {name} end of the search is {value}: strengths are searched on a log "
                    "scale, so it must be finite and above 0."
                )
        for end in (self.weak, self.strong):
            replay_of(self.text(end))

    @property
    def whole(self) -> bool:
        """Whether the number is a count (bits, say)."""
        name = SpecChain.parse(self.fixed).last.name
        if name in (MINIMUM_BATCH, SECURE_AGGREGATION):
            return True
        types = {f.name: f.type for f in dataclasses.fields(DEFENCES[name])}
        return types.get(self.parameter) in (int, "int")

    def text(self, strength: float) -> str:
        """The defence at ``strength``, as an audit takes it."""
        return str(SpecChain.parse(self.fixed).led_by(**{self.parameter: rounded(strength)}))


def mechanism(
    text: str,
    *,
    parameter: str | None = None,
    low: float | None = None,
    high: float | None = None,
    less_protects: bool | None = None,
) -> Mechanism:
    """The defence that ``text`` names, with its strength left open.

    Args:
        text: ``name`` or ``name:key=value,…`` without the strength; steps joined by ``+``.
        parameter: Name of the strength; None: the usual one of the defence.
        low: Least value to try; None: the usual one. ``high``: largest, likewise.
        less_protects: Whether a smaller value protects more; None: as is known of the defence.

    Raises:
        ValueError: The defence is unknown, has no such parameter, or no usual one; the range is
            empty, or an end of it is not allowed.
    """
    name = SpecChain.parse(text).last.name
    turned = strengths_of(name)
    if turned is None:
        known_names = sorted([*DEFENCES, MINIMUM_BATCH, SECURE_AGGREGATION])
        raise ValueError(f"Unknown defence {name!r}; known are {', '.join(known_names)}.")
    strengths = (s for s in turned if parameter in (None, s.parameter))
    known = next(strengths, None)
    least = low if low is not None or known is None else known.low
    most = high if high is not None or known is None else known.high
    named = parameter or (known.parameter if known else None)
    if named is None or least is None or most is None:
        raise ValueError(
            f"What makes {name} stronger is not known here: name its number and the range to "
            "search, with --parameter, --low and --high."
        )
    if not least < most:
        raise ValueError(f"The range to search, {least:g} to {most:g}, is empty.")
    if less_protects is None:
        less_protects = known is not None and known.less_protects
    return Mechanism(
        fixed=text,
        parameter=named,
        weak=most if less_protects else least,
        strong=least if less_protects else most,
        nothing=known.nothing if known else 1.0 if less_protects else 0.0,
    )


def least_protecting(
    weak: float, strong: float, tolerance: float, *, whole: bool = False
) -> Generator[float, bool, float | None]:
    """Yield strengths to try, be sent whether each protects, and return the least that does.

    By decades from ``weak`` until one protects, then by halving the interval on the log scale.

    Args:
        weak: Where to start, > 0.
        strong: Where to end; on either side of ``weak``.
        tolerance: Largest ratio, above 1, of the result and a strength that was seen to leak.
        whole: Try whole numbers only; neighbours among them are near enough.

    Returns:
        None if not even ``strong`` protects; ``weak`` if that does already.
    """
    leaks: float | None = None
    protects = weak
    while not (yield protects):
        if protects == strong:
            return None
        leaks, protects = protects, stronger(protects, strong, DECADE, whole=whole)
    while leaks is not None and max(leaks / protects, protects / leaks) > tolerance:
        middle = _rounded(math.sqrt(leaks * protects), whole)
        if middle in (leaks, protects):
            break
        if (yield middle):
            protects = middle
        else:
            leaks = middle
    return protects


def stronger(strength: float, strong: float, factor: float, *, whole: bool = False) -> float:
    """``strength`` moved towards ``strong`` by ``factor`` > 1, no further than there."""
    if strong >= strength:
        return min(_rounded(max(strength * factor, strength + whole), whole), strong)
    return max(_rounded(min(strength / factor, strength - whole), whole), strong)


def _rounded(strength: float, whole: bool) -> float:
    """To three digits, so that it reads well in a policy; a resumed search tries the same ones."""
    return float(round(strength)) if whole else float(f"{strength:.{_DIGITS}g}")
