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
_SHARE = 0.1  # of the whole model's size: a small entry's own update may be zero by chance


def size(values: NDArray[np.generic]) -> float:
    """Root mean square."""
    flat = np.asarray(values, np.float64 if values.size < 4096 else np.float32).ravel()
    return float(np.sqrt(np.dot(flat, flat) / max(flat.size, 1)))


def sizes(update: State) -> dict[str, float]:
    """Size of each floating-point entry."""
    return {n: size(v) for n, v in update.items() if v.dtype.kind == "f" and v.size}


def check(
    steps: Mapping[str, float] | None,
    own: Mapping[str, float] | None,
    *,
    rounds: int = 1,
    limit: float = LIMIT,
) -> Result:
    """``steps``: sizes of now - before, ``rounds`` apart; ``own``: those of the own updates."""
    if steps is None:
        return not_examined(CHECK, "there is no earlier model to step from")
    if not own:
        return not_examined(CHECK, "the site's own update is not known (SentinelNotes noted none)")
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    weights = [v for n, v in own.items() if n.rpartition(".")[2] not in statistics]
    floor = _SHARE * float(np.sqrt(np.mean(np.square(weights)))) if weights else 0.0
    found = {}
    for name, moved in steps.items():
        leaf = name.rpartition(".")[2]
        if leaf == "num_batches_tracked" or name not in own:
            continue
        reach = rounds * max(own[name], 0.0 if leaf in statistics else floor)
        found[name] = moved / reach if reach > 0 else (0.0 if moved == 0 else float("inf"))
    words = "the global model's step over the site's own update"
    return judged(CHECK, found, limit, words, "no entry of the step is in the site's own update")
