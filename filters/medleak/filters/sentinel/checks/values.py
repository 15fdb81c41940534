"""Are all values finite, and no larger than this run's earlier rounds explain?

The statistic of an entry is its largest absolute value over the largest of the earlier rounds.

A running statistic of batch norm says little about its range before it has settled: every batch
takes it the same part of its way (PyTorch: a tenth) to what the batch has, from a start (0 or 1)
that says nothing. Its earlier range therefore holds what the site's own batches were pulling it
to (`pulled`), however few they were. A site whose norms are frozen pulls nowhere, and nothing is
added: there, where running statistics act on gradients, the range stays as narrow as it was.
"""

from collections.abc import Collection, Mapping

import numpy as np

from medleak.filters.sentinel.layers import State
from medleak.filters.sentinel.result import Result, judged, not_examined

CHECK = "values"
GROWTH = 4.0
"""Honest entries grew by less than 3 between two rounds; see docs/measurements/sentinel.md."""
MOMENTUM = 0.1
"""The part of its way that one batch takes a running statistic, in PyTorch, unless told otherwise.
With a smaller one less is added to the range, and a statistic moves as much slower."""
STATISTICS = ("running_mean", "running_var")
_COUNTER = "num_batches_tracked"
_FLOOR = 0.5  # an entry that starts near zero may grow to this without a word


def largest(state: State) -> dict[str, float]:
    """Largest absolute value of each entry; NaN or inf where one is."""
    found = {}
    for name, value in state.items():
        if value.size and value.dtype.kind in "fiu":
            low, high = float(value.min()), float(value.max())
            found[name] = max(-low, high) if low == low and high == high else float("nan")
    return found


def pulled(state: State, update: State) -> dict[str, float]:
    """For each running statistic, the largest absolute value that the own batches pull it to.

    ``update``: what the site sent, local - ``state``; of k batches it is 1 - 0.9^k of the way.
    Where the update does not count its batches, it is taken to be of one.
    """
    found = {}
    for name, moved in update.items():
        layer, _, leaf = name.rpartition(".")
        if leaf not in STATISTICS or name not in state or not moved.size:
            continue
        counted = update.get(f"{layer}.{_COUNTER}")
        batches = 1.0 if counted is None or not counted.size else float(counted.reshape(-1)[0])
        part = 1 - (1 - MOMENTUM) ** max(batches, 1.0)
        way = np.asarray(moved, np.float64) / part
        found[name] = float(np.abs(np.asarray(state[name], np.float64) + way).max())
    return found


def check(
    now: Mapping[str, float], before: Mapping[str, float] | None, told: Collection[str] = ()
) -> Result:
    """Judge the entry that grew most; the statistic is in units of its limit.

    Args:
        now: As :func:`largest` gives it.
        before: The largest over all earlier rounds, likewise, and of :func:`pulled`; None: there
            were none.
        told: Entries of the own updates. A running statistic that is none of them may have made a
            tenth of its way, so that it is held to ten times the range.
    """
    bad = [n for n, v in now.items() if not np.isfinite(v)]
    if bad:
        words = f"{bad[0]} holds NaN or inf"
        return Result(check=CHECK, status="odd", words=words, where=bad[0])
    if before is None:
        return not_examined(CHECK, "finite; nothing earlier to compare their range with")
    found = {
        n: v / (max(before[n], _FLOOR) * _growth(n, told))
        for n, v in now.items()
        if n in before and n.rpartition(".")[2] != _COUNTER
    }
    words = "largest value over what the earlier rounds explain"
    return judged(CHECK, found, 1.0, words, "no entry is known from an earlier round")


def _growth(name: str, told: Collection[str]) -> float:
    settling = name.rpartition(".")[2] in STATISTICS and name not in told
    return GROWTH / MOMENTUM if settling else GROWTH
