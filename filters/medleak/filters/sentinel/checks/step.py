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
) -> Result:
    """``steps``: size and count of now - before, ``rounds`` apart; ``own``: own updates' sizes."""
    if steps is None:
        return not_examined(CHECK, "there is no earlier model to step from")
    if not own:
        return not_examined(CHECK, "the site's own update is not known (SentinelNotes noted none)")
    weights = [v for n, v in own.items() if n.rpartition(".")[2] not in _STATISTICS]
    floor = max(weights, default=0.0)
    found = {}
    for name, (moved, count) in steps.items():
        leaf = name.rpartition(".")[2]
        if leaf == "num_batches_tracked" or name not in own:
            continue
        few = count <= _FEW and leaf not in _STATISTICS
        reach = rounds * max(own[name], floor if few else 0.0)
        found[name] = moved / reach if reach > 0 else (0.0 if moved == 0 else float("inf"))
    words = "the global model's step over the site's own update"
    return judged(CHECK, found, limit, words, "no entry of the step is in the site's own update")
