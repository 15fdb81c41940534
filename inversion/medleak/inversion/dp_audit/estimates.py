"""Lower bounds of ε from how well an attacker tells two cases apart, at a stated confidence.

Each is a function of counts, with its formal guarantee: where the mechanism is (ε, δ)-private, or
has the trade-off that is named, the bound exceeds it with probability of at most 1 - confidence.

`clopper_pearson` and `gaussian` are for releases of two neighbours, `one_run` and
`one_run_gaussian` for canaries planted in a single training (`medleak.inversion.dp_audit.counts`).
"""

import math
from collections.abc import Callable
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri
from scipy.stats import beta, binom, norm

Floats = NDArray[np.float64]
_MOST = 60.0  # ε beyond which a bound says no more


def upper(successes: int, n: int, significance: float) -> float:
    """Clopper-Pearson: the largest share that is likely after ``successes`` of ``n``."""
    return (
        1.0 if successes >= n else float(beta.ppf(1 - significance, successes + 1, n - successes))
    )


def threshold_of(first: Floats, second: Floats) -> float:
    """Where to cut scores, larger for ``first``, so that ε by the counts is largest.

    Chosen on other releases than those that are counted, else the bound has no confidence.
    """
    cuts = np.unique(np.concatenate([first, second]))
    if len(cuts) > 400:
        cuts = np.quantile(cuts, np.linspace(0, 1, 400))
    missed = np.searchsorted(np.sort(first), cuts, side="left")
    wrong = len(second) - np.searchsorted(np.sort(second), cuts, side="left")
    # By the bounds that will be made of them: bare rates are best by chance where they are few.
    fnr, fpr = (
        np.where(k < n, beta.ppf(0.95, k + 1, np.maximum(n - k, 1)), 1.0)
        for k, n in ((missed, len(first)), (wrong, len(second)))
    )
    with np.errstate(invalid="ignore"):
        gains = norm.ppf(1 - fpr) - norm.ppf(fnr)
    return float(cuts[int(np.nanargmax(gains))])


def clopper_pearson(
    first: Floats, second: Floats, threshold: float, *, delta: float, confidence: float = 0.95
) -> float:
    """ε >= log((1 - δ - FNR) / FPR), both ways, with both rates at their upper bounds.

    Source: Kairouz, Oh, Viswanath 2015, arXiv:1311.0776v4; Jagielski et al. 2020,
    arXiv:2006.07709v1.
    """
    fnr, fpr = rates(first, second, threshold, confidence)
    bounds = [_log_ratio(1 - delta - a, b) for a, b in ((fnr, fpr), (fpr, fnr))]
    return max(0.0, *bounds)


def gaussian(
    first: Floats, second: Floats, threshold: float, *, delta: float, confidence: float = 0.95
) -> float:
    """ε at δ of the least μ with which a μ-Gaussian mechanism could be told so well.

    Refutes a claim of a Gaussian mechanism (or of one that is at least as private by its whole
    trade-off curve): μ >= z(1 - FPR) - z(FNR). Of another mechanism it says nothing certain.

    Source: Dong, Roth, Su 2022, arXiv:1905.02383v3, Cor. 2.13; Nasr et al. 2023,
    arXiv:2302.07956v1.
    """
    fnr, fpr = rates(first, second, threshold, confidence)
    mu = float(norm.ppf(1 - fpr) - norm.ppf(fnr))
    return 0.0 if not mu > 0 else epsilon_of_mu(mu, delta)


def epsilon_of_mu(mu: float, delta: float) -> float:
    """ε with which a μ-Gaussian mechanism is exactly (ε, δ)-private (Dong et al., Cor. 2.13)."""

    def excess(epsilon: float) -> float:
        far = norm.logcdf(-epsilon / mu - mu / 2)
        return float(norm.cdf(-epsilon / mu + mu / 2) - np.exp(min(epsilon + far, 0.0))) - delta

    if excess(0.0) <= 0:
        return 0.0
    high = 1.0
    while excess(high) > 0:
        high *= 2
    return cast(float, brentq(excess, 0.0, high, xtol=1e-9))


def one_run(
    canaries: int, guesses: int, correct: int, *, delta: float, confidence: float = 0.95
) -> float:
    """ε from one run in which each canary was in by a fair coin, and some were guessed.

    Args:
        canaries: m, each in or out independently, for the mechanism's relation of one record.
        guesses: r <= m that the attacker dared; the others he left out.
        correct: v <= r of them right.
        delta: δ in [0, 1).
        confidence: Of the bound.

    Raises:
        ValueError: The counts are none.

    Source: Steinke, Nasr, Jagielski 2023, arXiv:2305.08846v1, Theorem 5.2 and appendix D.
    """
    _check(canaries, guesses, correct)

    def chance(epsilon: float) -> float:
        q = 1 / (1 + math.exp(-epsilon))
        tail = float(binom.sf(correct - 1, guesses, q))
        near = np.cumsum(binom.pmf(np.arange(correct - 1, -1, -1), guesses, q))
        slope = float(np.max(near / np.arange(1, correct + 1))) if correct else 0.0
        return min(1.0, tail + 2 * delta * canaries * slope)

    return _least(lambda epsilon: chance(epsilon) <= 1 - confidence)


def one_run_gaussian(
    canaries: int, guesses: int, correct: int, *, delta: float, confidence: float = 0.95
) -> float:
    """As `one_run`, for a claim of a μ-Gaussian trade-off: ε at δ of the least μ not refuted.

    Tighter, as the whole trade-off curve counts and not one point of it.

    Source: Mahloujifar, Melis, Chaudhuri 2024, arXiv:2410.22235v1, Algorithm 3 (k = 2 answers).
    """
    _check(canaries, guesses, correct)
    # Of all canaries: those left out were not guessed wrongly.
    mu = _least(
        lambda m: curve_refuted(
            lambda x: float(ndtr(ndtri(x) - m)),  # scipy.stats takes a hundred times as long
            canaries,
            guesses,
            correct,
            1 - confidence,
        ),
        step=0.25,
    )
    return 0.0 if mu <= 0 else epsilon_of_mu(mu, delta)


def curve_refuted(
    inverse_blow_up: Callable[[float], float],
    canaries: int,
    guesses: int,
    correct: int,
    significance: float,
) -> bool:
    """Whether so many right guesses have a probability below ``significance`` under a trade-off.

    Of ``canaries``, each in by a fair coin, ``guesses`` were guessed and ``correct`` rightly.
    ``inverse_blow_up`` x -> largest probability that an event of probability x under one data set
    must at least have under a neighbour: f̄^-1 of the paper.
    """
    _check(canaries, guesses, correct)
    right = significance * correct / canaries
    wrong = significance * (guesses - correct) / canaries
    for i in range(correct - 1, -1, -1):
        least = max(wrong, inverse_blow_up(right))
        right += i / (guesses - i) * (least - wrong)
        wrong = least
    return right + wrong > guesses / canaries


def rates(
    first: Floats, second: Floats, threshold: float, confidence: float
) -> tuple[float, float]:
    """Upper bounds of FNR and FPR that hold together."""
    each = (1 - confidence) / 2
    return (
        upper(int(np.sum(first < threshold)), len(first), each),
        upper(int(np.sum(second >= threshold)), len(second), each),
    )


def _log_ratio(above: float, below: float) -> float:
    return math.log(above / below) if above > 0 else 0.0


def _least(refuted: Callable[[float], bool], step: float = 1.0) -> float:
    """Largest value that is refuted, to 1e-4; refuted values lie below it."""
    if not refuted(0.0):
        return 0.0
    low, high = 0.0, step
    while refuted(high):
        low, high = high, high + step
        if high > _MOST:
            return low
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low


def _check(canaries: int, guesses: int, correct: int) -> None:
    if not 0 <= correct <= guesses <= canaries or canaries < 1:
        raise ValueError(
            f"{correct} right of {guesses} guesses on {canaries} canaries is impossible: no bound "
            "follows."
        )
