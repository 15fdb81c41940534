"""The whole trade-off that a mechanism claims, and whether guesses of canaries contradict it.

One (ε, δ) is one point of what a mechanism promises. Its privacy loss distribution gives δ at every
ε, hence the trade-off curve; a single run with some hundred canaries contradicts a false curve at
ε = 8, where the bound for one point alone would need nine thousand guesses without an error.
"""

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from medleak.filters.privacy import accounting
from medleak.filters.privacy.accounting import Event, to_dp_event
from medleak.inversion.dp_audit.estimates import curve_refuted

_GRID = 1e-3
_STEP = 1.05  # from one multiple of the noise to the next
# From a quarter of it, as less makes distributions of losses that fill a memory, to 130 times.
_POWERS = np.arange(-28, 101)
_EPSILONS = np.concatenate([np.linspace(0, 2, 81), np.linspace(2.1, 30, 280)])


def refutes(
    events: Sequence[Event], canaries: int, guesses: int, correct: int, confidence: float
) -> bool:
    """Whether so many right guesses contradict what ``events`` claim together.

    Formal guarantee: where the mechanism is as its events say, with probability of at most
    1 - ``confidence``.

    Args:
        events: Of all releases that the canaries went into; of one unit and relation.
        canaries: Each in by a fair coin; ``guesses`` of them were guessed, ``correct`` rightly.
        confidence: In (0, 1).

    Raises:
        ValueError: The counts, or an event, are none.

    Source: Mahloujifar, Melis, Chaudhuri 2024, arXiv:2410.22235v1, Algorithm 3; curves from
    dp_accounting's privacy loss distributions, whose δ are upper bounds.
    """
    inverse = inverse_blow_up(deltas_of(events))
    return curve_refuted(inverse, canaries, guesses, correct, 1 - confidence)


def least_refuting(
    events: Sequence[Event], canaries: int, guesses: int, confidence: float
) -> int | None:
    """The fewest right guesses that contradict the claim; None: not even all of them do."""
    if not refutes(events, canaries, guesses, guesses, confidence):
        return None
    low, high = -1, guesses
    while high - low > 1:
        middle = (low + high) // 2
        if refutes(events, canaries, guesses, middle, confidence):
            high = middle
        else:
            low = middle
    return high


def with_scaled_noise(
    events: Sequence[Event],
    canaries: int,
    guesses: int,
    correct: int,
    confidence: float,
    delta: float,
) -> float | None:
    """ε at ``delta`` of ``events`` at the least noise that so many right guesses contradict.

    A lower bound of ε where the mechanism is as ``events`` say in all but its noise (rates, steps
    and kinds are as claimed): sharper than `estimates.one_run`, as whole trade-offs are compared.
    None: not even a hundred times the noise is contradicted.

    Formal guarantee: where the noise is any multiple of what is claimed, the bound exceeds the ε of
    that noise with probability of at most 1 - ``confidence``: the multiples that are not
    contradicted are a confidence set (and `refutes` is the test of one of them).
    """
    return _least_noise(
        events, lambda found: refutes(found, canaries, guesses, correct, confidence), delta
    )


def with_scaled_noise_by_errors(
    events: Sequence[Event], fnr: float, fpr: float, delta: float
) -> float | None:
    """The same from how often two neighbours are mistaken for each other.

    Args:
        events: Claimed of the releases that were told apart.
        fnr: Upper bound on how often the first is taken for the second; ``fpr``: the reverse. The
            bound of ε holds with the confidence with which both do.
        delta: Of the ε.
    """

    def contradicted(found: Sequence[Event]) -> bool:
        least = inverse_blow_up(deltas_of(found))
        return fnr < least(1 - fpr) or fpr < least(1 - fnr)

    return _least_noise(events, contradicted, delta)


def _least_noise(
    events: Sequence[Event], contradicts: Callable[[Sequence[Event]], bool], delta: float
) -> float | None:
    factors = _STEP**_POWERS

    def contradicted(k: int) -> bool:
        return contradicts([_scaled(event, float(factors[k])) for event in events])

    low, high = -1, len(factors) - 1
    if not contradicted(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if contradicted(middle) else (middle, high)
    return accounting.epsilon([_scaled(event, float(factors[high])) for event in events], delta)


def _scaled(event: Event, factor: float) -> Event:
    """``event`` with ``factor`` times its noise."""
    inner = event.get("inner")
    found = dict(event)
    if "noise_multiplier" in event:
        found["noise_multiplier"] = event["noise_multiplier"] * factor
    if isinstance(inner, list):
        found["inner"] = [_scaled(one, factor) for one in inner]
    elif inner is not None:
        found["inner"] = _scaled(inner, factor)
    return found


def deltas_of(events: Sequence[Event]) -> NDArray[np.float64]:
    """δ of all ``events`` together at each ε of the grid, an upper bound."""
    return _deltas(json.dumps(list(events)))


@lru_cache(maxsize=256)
def _deltas(events: str) -> NDArray[np.float64]:
    from dp_accounting.pld import PLDAccountant

    # Losses are rounded up to the grid, so that every δ stays an upper bound.
    accountant = PLDAccountant(value_discretization_interval=_GRID)
    for event in json.loads(events):
        accountant.compose(to_dp_event(event))
    # It takes several ε at once, whatever its hint says.
    return np.asarray(accountant.get_delta(cast(Any, _EPSILONS)), dtype=np.float64)


def inverse_blow_up(deltas: NDArray[np.float64]) -> Callable[[float], float]:
    """x -> the least probability that an event of probability x under a neighbour must have.

    That is f(1 - x) of the trade-off curve f, which is the largest line below it that any
    (ε, δ(ε)) gives (Dong, Roth, Su 2022, arXiv:1905.02383v3, Prop. 2.12).
    """
    grown = np.exp(_EPSILONS)

    def least(x: float) -> float:
        x = min(x, 1.0)  # sums of probabilities that refute already grow beyond it
        lines = np.concatenate([1 - deltas - grown * (1 - x), (x - deltas) / grown])
        return max(0.0, float(lines.max()))

    return least
