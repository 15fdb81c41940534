"""Can the site's own update explain how far the global model moved?

An average of n updates moves no further than the largest of them. The statistic of an entry is
the size (root mean square) of the global model's step over that of the site's own updates, the
largest so far, as they were sent: after the site's filters.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from medleak.filters.sentinel.layers import State
from medleak.filters.sentinel.result import Result, judged, not_examined

CHECK = "step"
LIMIT = 12.0
"""How much larger than the own update an honest step may be: other sites train longer, and a server
with momentum or Adam takes larger steps."""
FIRST, AGAIN = 25.0, 3.0
"""A small site among large ones is moved by far more than its own update: 25 times the limit, but
only in the run's first step, or where earlier steps were a third as large."""
LEAST = 2e-4
"""Of the weights' own size: a smaller own update may be of a loss that had vanished (one image that
was right already), and tells little of how far others move. Where 25 times the limit is allowed, it
counts as this."""
_FEW = 64  # an entry of fewer numbers may stand still by chance: the largest own size counts
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def size(values: NDArray[np.generic]) -> float:
    """Root mean square."""
    flat = np.asarray(values, np.float64 if values.size < 4096 else np.float32).ravel()
    return float(np.sqrt(np.dot(flat, flat) / max(flat.size, 1)))


def sizes(update: State) -> dict[str, float]:
    """Size of each floating-point entry."""
    return {n: size(v) for n, v in update.items() if v.dtype.kind == "f" and v.size}


def check(
    steps: Mapping[str, tuple[float, int]] | None,
    own: Mapping[str, float] | None,
    *,
    rounds: int = 1,
    limit: float = LIMIT,
    earlier: Mapping[str, float] | None = None,
    weights: Mapping[str, float] | None = None,
) -> Result:
    """Judge the entry that moved furthest; the statistic is in units of ``limit``.

    Args:
        steps: Size and count of now - before, by entry.
        own: Sizes of the site's own updates.
        rounds: How many lie between.
        limit: See `LIMIT`.
        earlier: The largest step of a round so far, by entry; None: this is the first.
        weights: Size of each entry of the model itself; None: not known.
    """
    if steps is None:
        return not_examined(CHECK, "there is no earlier model to step from")
    if not own:
        return not_examined(CHECK, "the site's own update is not known (SentinelNotes noted none)")
    moving = [v for n, v in own.items() if n.rpartition(".")[2] not in _STATISTICS]
    floor = max(moving, default=0.0)
    weights = weights or {}
    usual_weight = float(np.median(list(weights.values()))) if weights else 0.0
    found = {}
    for name, (moved, count) in steps.items():
        leaf = name.rpartition(".")[2]
        if leaf == "num_batches_tracked" or name not in own:
            continue
        few = count <= _FEW and leaf not in _STATISTICS
        least = LEAST * max(weights.get(name, 0.0), usual_weight)
        mine = limit * max(own[name], floor if few else 0.0)
        far = FIRST * max(mine, limit * least)
        usual = AGAIN * earlier.get(name, 0.0) if earlier else far
        reach = rounds * max(mine, min(usual, far))
        found[name] = moved / reach if reach > 0 else (0.0 if moved == 0 else float("inf"))
    words = "the global model's step over what the site's own update explains"
    return judged(CHECK, found, 1.0, words, "no entry of the step is in the site's own update")
