"""What privacy costs: what leaks under each protection against the accuracy that it leaves."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from medleak.filters.spec import SpecChain, rounded
from medleak.inversion.results.strength import DEFAULT_PARAMETER, same, strength_of
from medleak.inversion.results.utility import Utility


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """What one site leaks to one attacker under a protection.

    Attributes:
        bound: Upper 95 % bound of RDLV; the mean, where there is no interval.
    """

    protection: str
    site: str
    bound: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeOff:
    """A protection whose leak and accuracy are both known.

    Attributes:
        leak: Of the site, and attacker, to which most leaks.
        utility: Test accuracy of a federation under it.
    """

    protection: str
    leak: Leak
    utility: Utility


def trade_offs(leaks: Iterable[Leak], utilities: Sequence[Utility]) -> list[TradeOff]:
    """Protections in order of appearance, each with its worst leak; those without accuracy not."""
    worst: dict[str, Leak] = {}
    for leak in leaks:
        known = worst.get(leak.protection)
        if known is None or leak.bound > known.bound:
            worst[leak.protection] = leak
    found = []
    for protection, leak in worst.items():
        utility = next((u for u in utilities if same(utility_text(u), protection)), None)
        if utility is not None:
            found.append(TradeOff(protection=protection, leak=leak, utility=utility))
    return found


def front(points: Sequence[TradeOff]) -> list[TradeOff]:
    """The protections that no other one beats, by ascending leak (Pareto front).

    One beats another that leaks no less and is no more accurate, unless they are equal in both.
    Leaks count by their worst bound and accuracies by their mean, so of two points that lie within
    each other's intervals either may be on the true front.
    """
    kept = [p for p in points if not any(_beats(other, p) for other in points)]
    return sorted(kept, key=lambda p: (p.leak.bound, p.utility.accuracy))


def _beats(first: TradeOff, second: TradeOff) -> bool:
    ours = (first.leak.bound, -first.utility.accuracy)
    theirs = (second.leak.bound, -second.utility.accuracy)
    return ours != theirs and all(a <= b for a, b in zip(ours, theirs, strict=True))


def utility_text(utility: Utility, parameter: str = DEFAULT_PARAMETER) -> str:
    """The protection that a line of utility.json is about, as results.csv writes it."""
    if utility.strength is None or strength_of(utility.defence, parameter).at is not None:
        return utility.defence
    try:
        chain = SpecChain.parse(utility.defence)
    except ValueError:
        return utility.defence  # not in our words
    return str(chain.led_by(**{parameter: rounded(utility.strength)}))
