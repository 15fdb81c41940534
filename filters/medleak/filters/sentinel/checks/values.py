"""Are all values finite, and no larger than this run's earlier rounds explain?

The statistic of an entry is its largest absolute value over the largest of the earlier rounds.
"""

from collections.abc import Mapping

import numpy as np

from medleak.filters.sentinel.layers import State
from medleak.filters.sentinel.result import Result, judged, not_examined

CHECK = "values"
GROWTH = 4.0
"""Honest entries grew by less than 3 between two rounds; see docs/measurements/sentinel.md."""
_FLOOR = 0.5  # an entry that starts near zero may grow to this without a word


def largest(state: State) -> dict[str, float]:
    """Largest absolute value of each entry; NaN or inf where one is."""
    found = {}
    for name, value in state.items():
        if value.size and value.dtype.kind in "fiu":
            low, high = float(value.min()), float(value.max())
            found[name] = max(-low, high) if low == low and high == high else float("nan")
    return found


def check(now: Mapping[str, float], before: Mapping[str, float] | None) -> Result:
    """``now`` and ``before`` as :func:`largest` gives them; ``before`` over all earlier rounds."""
    bad = [n for n, v in now.items() if not np.isfinite(v)]
    if bad:
        words = f"{bad[0]} holds NaN or inf"
        return Result(check=CHECK, status="odd", words=words, where=bad[0])
    if before is None:
        return not_examined(CHECK, "finite; nothing earlier to compare their range with")
    found = {
        n: v / max(before[n], _FLOOR)
        for n, v in now.items()
        if n in before and not n.endswith("num_batches_tracked")
    }
    words = "largest value over that of the earlier rounds"
    return judged(CHECK, found, GROWTH, words, "no entry is known from an earlier round")
