"""How many canaries to guess, from what is claimed alone: fixed before any coin is looked at."""

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import binom, norm

from medleak.filters.privacy.accounting import Event
from medleak.inversion.dp_audit.claims import Claim
from medleak.inversion.dp_audit.curve import least_refuting
from medleak.inversion.dp_audit.estimates import epsilon_of_mu

_SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7)  # of the canaries that may be guessed
_MOST_IN = 0.4  # of the canaries may be guessed to be in: half of them are
_LEAST_MU, _MOST_MU = 1e-3, 60.0  # of Gaussian mechanisms that a claim is compared with
_WRONG = 0.5  # share of the claimed noise that shall be found out
Shown = tuple[NDArray[np.float64], NDArray[np.float64]]
"""By how many deviations of the noise a canary that went in is higher, and how likely that is."""


def best_guesses(n: int, claim: Claim, *, delta: float, confidence: float) -> int:
    """How many of ``n`` canaries to guess.

    The number that would most clearly contradict the claim if there were half of the noise and each
    canary were told as well as that allows. All where nothing is claimed, or so much that no
    guesses contradict it.

    Args:
        n: Canaries.
        claim: Of all releases together; ``delta`` of its ε.
        confidence: At which it has to be contradicted.
    """
    epsilon = claim.epsilon
    if epsilon is None or epsilon <= 0 or not claim.events:
        return n
    if not epsilon_of_mu(_LEAST_MU, delta) < epsilon < epsilon_of_mu(_MOST_MU, delta):
        return n
    shown = _shown(claim.events)
    if shown is None:
        mu = cast(float, brentq(lambda m: epsilon_of_mu(m, delta) - epsilon, _LEAST_MU, _MOST_MU))
        shown = np.array([mu / _WRONG]), np.ones(1)
    sides = 1 if sampled(claim) else 2
    shares = [share for share in _SHARES if share <= _MOST_IN * sides]
    best = (-np.inf, max(1, round(shares[-1] * n)))
    for number in sorted({max(1, round(share * n)) for share in shares}):
        needed = least_refuting(claim.events, n, number, confidence)
        if needed is not None:
            right = _right(number / n / sides, shown)
            # Half a guess more, as counts are whole; the second part where hardly any is wrong.
            spread = (number * right * (1 - right) + 0.25) ** 0.5
            best = max(best, ((right * number - needed + 0.5) / spread, number))
    return best[1]


def sampled(claim: Claim) -> bool:
    """Whether what is claimed counts on records that a step does not draw."""
    return "PoissonSampled" in str(claim.events)


def _shown(events: Sequence[Event]) -> Shown | None:
    """What the sum of all releases shows of a canary at `_WRONG` of the noise; None: not known.

    A step of unit sensitivity draws it or does not: the sum is as much higher as steps drew it.
    """
    steps = [step for event in events for step in _steps(event, 1.0)]
    if not steps or any(noise is None for _, noise, _ in steps):
        return None
    times: dict[float, int] = {}
    variance = 0.0
    for rate, noise, count in steps:
        times[rate] = times.get(rate, 0) + count
        variance += count * (_WRONG * (noise or 0.0)) ** 2
    drawn = np.ones(1)
    for rate, count in times.items():
        # Draws beyond nine deviations are not counted, so that thousands of steps stay cheap.
        most = int(min(count, rate * count + 9 * (rate * count) ** 0.5 + 9))
        drawn = np.convolve(drawn, binom.pmf(np.arange(most + 1), count, rate))
    return np.arange(len(drawn)) / variance**0.5, drawn / drawn.sum()


def _steps(
    event: Mapping[str, object], rate: float, count: int = 1
) -> Iterator[tuple[float, float | None, int]]:
    """Rate, noise multiplier (None: not Gaussian) and number of each kind of step."""
    kind, inner = event["event"], event.get("inner")
    if kind == "SelfComposed":
        yield from _steps(cast(Event, inner), rate, count * cast(int, event["count"]))
    elif kind == "Composed":
        for one in cast(Sequence[Event], inner):
            yield from _steps(one, rate, count)
    elif kind == "PoissonSampled":
        chance = cast(float, event["sampling_probability"])
        yield from _steps(cast(Event, inner), rate * chance, count)
    elif kind == "Gaussian":
        yield rate, cast(float, event["noise_multiplier"]), count
    elif kind != "NoOp":
        yield rate, None, count


def _right(share: float, shown: Shown) -> float:
    """Share of right guesses of the ``share`` of canaries with the highest scores."""
    higher, chance = shown

    def of_in(cut: float) -> float:
        return float(chance @ norm.sf(cut - higher))

    def excess(cut: float) -> float:
        return (of_in(cut) + float(norm.sf(cut))) / 2 - share

    cut = cast(float, brentq(excess, -40.0, float(higher.max()) + 40.0))
    return min(1.0, of_in(cut) / (2 * share))
