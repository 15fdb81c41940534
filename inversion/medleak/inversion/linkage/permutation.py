"""Against chance: what is seen, beside what is seen when sites are dealt out anew."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
DEALS = 2000
"""Permutations that are tried; all there are, where there are no more."""


def p_value(statistic: Callable[[Sequence[int]], float], n: int, *, seed: int = 0) -> float:
    """Share of the permutations of ``n`` sites whose statistic is at least that of the truth.

    Formal guarantee: where sites are exchangeable (the updates know nothing of which is which),
    P(p <= a) <= a for every a. The truth counts as one of the permutations.

    Args:
        statistic: Of an order of the sites; larger where more is told.
        n: Number of sites.
        seed: Of the permutations that are drawn, where there are more than `DEALS`.

    Source: Phipson & Smyth 2010, doi:10.2202/1544-6115.1585.
    """
    truth = statistic(range(n))
    least = truth - 1e-12 * max(1.0, abs(truth))
    orders = list(_orders(n, seed))
    return sum(statistic(order) >= least for order in orders) / len(orders)


def least_p(n: int) -> float:
    """The smallest p-value that ``n`` sites can have."""
    return 1 / min(math.factorial(n), DEALS)


def _orders(n: int, seed: int) -> Iterator[Sequence[int]]:
    if n < 13 and math.factorial(n) <= DEALS:
        yield from itertools.permutations(range(n))
        return
    rng = np.random.default_rng(seed)
    yield range(n)
    for _ in range(DEALS - 1):
        yield rng.permutation(n).tolist()


def distances(points: Floats) -> Floats:
    """[N, N] Euclidean distances of [N, D]."""
    return np.sqrt(np.square(points[:, None] - points[None]).sum(-1))


def correlation(first: Floats, second: Floats) -> float:
    """Of two tables of distances [N, N], over pairs (Mantel 1967); 0 where one does not vary."""
    above = np.triu_indices(len(first), 1)
    x, y = first[above], second[above]
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / scale if scale > 0 else 0.0
